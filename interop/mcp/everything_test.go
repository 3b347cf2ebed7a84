package mcp_test

//lint:file-ignore SA1019 The scenarios of the older protocol versions ask for logging and sampling.

import (
	"context"
	"errors"
	"fmt"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// everything is a server with the tools that the scenarios call.
func everything() *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "everything", Version: "1"}, nil)
	add := func(name string, call func(ctx context.Context, r *sdk.CallToolRequest) (string, error)) {
		sdk.AddTool(s, &sdk.Tool{Name: name, Description: name}, func(ctx context.Context, r *sdk.CallToolRequest, _ map[string]any) (*sdk.CallToolResult, any, error) {
			said, err := call(ctx, r)
			return text(said), nil, err
		})
	}
	add("test_simple_text", func(context.Context, *sdk.CallToolRequest) (string, error) {
		return "This is a simple text response for testing.", nil
	})
	add("test_error_handling", func(context.Context, *sdk.CallToolRequest) (string, error) {
		return "", errors.New("This tool intentionally returns an error for testing") // in the words of the scenario
	})
	add("test_tool_with_logging", func(ctx context.Context, r *sdk.CallToolRequest) (string, error) {
		for _, line := range []string{"Tool execution started", "Tool processing data", "Tool execution completed"} {
			if err := r.Session.Log(ctx, &sdk.LoggingMessageParams{Level: "info", Data: line}); err != nil {
				return "", err
			}
			time.Sleep(50 * time.Millisecond)
		}
		return "logged", nil
	})
	add("test_tool_with_progress", func(ctx context.Context, r *sdk.CallToolRequest) (string, error) {
		for _, done := range []float64{0, 50, 100} {
			if err := r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: done, Total: 100}); err != nil {
				return "", err
			}
			time.Sleep(50 * time.Millisecond)
		}
		return "done", nil
	})
	add("test_sampling", func(ctx context.Context, r *sdk.CallToolRequest) (string, error) {
		answer, err := r.Session.CreateMessage(ctx, &sdk.CreateMessageParams{MaxTokens: 100,
			Messages: []*sdk.SamplingMessage{{Role: "user", Content: &sdk.TextContent{Text: "Test prompt for sampling"}}}})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("LLM response: %v", answer.Content), nil
	})
	add("test_elicitation", func(ctx context.Context, r *sdk.CallToolRequest) (string, error) {
		answer, err := r.Session.Elicit(ctx, &sdk.ElicitParams{Message: "Please provide your information", RequestedSchema: map[string]any{
			"type": "object", "properties": map[string]any{"username": map[string]any{"type": "string"}, "email": map[string]any{"type": "string"}}}})
		if err != nil {
			return "", err
		}
		return "User response: " + answer.Action, nil
	})
	return s
}
