// A client of the TypeScript SDK whose tokens are bound to a key (DPoP). The SDK makes no
// proofs of its own, but takes a fetch function that does. It starts from a refusal, as
// MCP clients do: challenge, metadata of the resource, metadata of the issuer, token.
//
//   node client.mjs URL CLIENT SECRET     what came of each step goes to stdout, as JSON
import { randomUUID } from 'node:crypto'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { discoverAuthorizationServerMetadata, discoverOAuthProtectedResourceMetadata, extractWWWAuthenticateParams } from '@modelcontextprotocol/sdk/client/auth.js'
import { generateKeyPair, generateProof } from 'dpop'

const [url, id, secret] = process.argv.slice(2)
const steps = {}

// proving returns a fetch that proves the key on each request, and once more if a nonce is wanted.
function proving(keys, token) {
  let nonce
  return async (target, init = {}) => {
    const u = new URL(target)
    for (let attempt = 0; ; attempt++) {
      const headers = new Headers(init.headers)
      headers.set('DPoP', await generateProof(keys, u.origin + u.pathname, init.method ?? 'GET', nonce, token))
      if (token) headers.set('Authorization', `DPoP ${token}`)
      const response = await fetch(u, { ...init, headers })
      nonce = response.headers.get('DPoP-Nonce') ?? nonce
      if (attempt > 0 || response.status !== 401 || !response.headers.get('WWW-Authenticate')?.includes('use_dpop_nonce')) return response
      steps.nonces = (steps.nonces ?? 0) + 1
      await response.body?.cancel()
    }
  }
}

async function tokenFor(keys, scope, server) {
  const response = await proving(keys)(server.token_endpoint, {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa(`${id}:${secret}`)}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope, resource: url }),
  })
  const answer = await response.json()
  steps.token_type = answer.token_type
  return answer.access_token
}

async function connect(keys, token) {
  const client = new Client({ name: 'interop', version: '1' })
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: proving(keys, token) })
  await client.connect(transport)
  return { client, transport }
}

const refused = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' })
const bearer = new Response(null, { headers: { 'WWW-Authenticate': refused.headers.get('WWW-Authenticate').replace(/^.*?(?=Bearer )/, '') } })
const { resourceMetadataUrl, scope } = extractWWWAuthenticateParams(bearer)
steps.challenge = { status: refused.status, scope, metadata: String(resourceMetadataUrl) }
const resource = await discoverOAuthProtectedResourceMetadata(url, { resourceMetadataUrl })
steps.resource = resource.resource
const server = await discoverAuthorizationServerMetadata(resource.authorization_servers[0])

const keys = await generateKeyPair('ES256')
const token = await tokenFor(keys, scope, server)
const { client, transport } = await connect(keys, token)
steps.session = Boolean(transport.sessionId)
steps.tools = (await client.listTools()).tools.map((t) => t.name).sort()
steps.greet = (await client.callTool({ name: 'greet', arguments: {} })).content[0].text

// Step-up: the refusal names what to ask for.
const call = { jsonrpc: '2.0', id: randomUUID(), method: 'tools/call', params: { name: 'refund', arguments: {} } }
const headers = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'Mcp-Session-Id': transport.sessionId, 'Mcp-Protocol-Version': transport.protocolVersion }
const lacking = await proving(keys, token)(url, { method: 'POST', headers, body: JSON.stringify(call) })
steps.insufficient = { status: lacking.status, scope: /scope="([^"]*)"/.exec(lacking.headers.get('WWW-Authenticate'))?.[1] }
steps.refused = await client.callTool({ name: 'refund', arguments: {} }).then(() => 'called', () => 'refused')
const wider = await tokenFor(keys, `${scope} ${steps.insufficient.scope}`, server)
const stepped = await connect(keys, wider)
steps.refund = (await stepped.client.callTool({ name: 'refund', arguments: {} })).content[0].text

// A thief has the token, and a key of their own.
const thief = await generateKeyPair('ES256')
const status = async (f) => (await f(url, { method: 'POST', headers, body: JSON.stringify({ ...call, method: 'ping', params: {} }) })).status
steps.stolen = { key: await status(proving(thief, token)), bearer: await status((u, init) => fetch(u, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } })) }

await transport.terminateSession()
steps.ended = await status(proving(keys, token))
await client.close()
await stepped.client.close()
console.log(JSON.stringify(steps))
