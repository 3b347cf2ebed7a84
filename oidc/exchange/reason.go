package exchange

// Reason is the stable name of the refusal, for logs and metrics. It is part of the
// API. It is "" for a value that is not a kind, and it is not meant for the client.
func (e Error) Reason() string {
	switch e {
	case ErrRefused:
		return "credentials_refused"
	case ErrMalformed:
		return "credentials_malformed"
	default:
		return ""
	}
}
