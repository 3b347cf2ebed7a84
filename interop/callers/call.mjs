// Calls a guarded service with DPoP: oauth4webapi does the proofs and the nonces.
import * as oauth from 'oauth4webapi';

const { ISSUER, CLIENT_ID, CLIENT_SECRET, URL: url } = process.env;
const options = { [oauth.allowInsecureRequests]: ISSUER.startsWith('http://127.0.0.1') }; // for development

const issuer = new URL(ISSUER);
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options));
const client = { client_id: CLIENT_ID };
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));

// A server that wants another nonce says so once; DPoP has learned it by then.
const again = (send) => send().catch((err) => (oauth.isDPoPNonceError(err) ? send() : Promise.reject(err)));

const { access_token } = await again(async () =>
  oauth.processClientCredentialsResponse(server, client,
    await oauth.clientCredentialsGrantRequest(server, client, oauth.ClientSecretBasic(CLIENT_SECRET),
      new URLSearchParams({ scope: 'orders:read' }), { DPoP, ...options })));

const response = await again(() =>
  oauth.protectedResourceRequest(access_token, 'GET', new URL(url), undefined, undefined, { DPoP, ...options }));
console.log(response.status);
