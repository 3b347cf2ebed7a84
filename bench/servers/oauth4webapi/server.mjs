// oauth4webapi decides about a Request of the Fetch API; node:http carries it, since the library has no server.
import { createServer } from 'node:http'
import * as oauth from 'oauth4webapi'

const { ISSUER, AUDIENCE, PORT } = process.env
const issuer = new URL(ISSUER)
const options = { [oauth.allowInsecureRequests]: issuer.protocol === 'http:' } // the issuer's URLs may be http here
const metadata = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options })
const as = await oauth.processDiscoveryResponse(issuer, metadata)

createServer(async (req, res) => {
  const url = new URL(req.url, `http://127.0.0.1:${PORT}`)
  if (url.pathname === '/guarded') {
    const request = new Request(url, { method: req.method, headers: fields(req) })
    try {
      await oauth.validateJwtAccessToken(as, request, AUDIENCE, options)
    } catch {
      res.writeHead(401, { 'www-authenticate': 'DPoP, Bearer' }).end()
      return
    }
  }
  res.end('ok')
}).listen(Number(PORT), '127.0.0.1')

function fields(req) {
  const headers = new Headers()
  for (let i = 0; i < req.rawHeaders.length; i += 2) headers.append(req.rawHeaders[i], req.rawHeaders[i + 1])
  return headers
}
