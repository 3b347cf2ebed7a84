// The clients from npm. Reads one command per line from stdin, and answers each with one line: what came of it, or {error}.
//
//   {do: "token", session, library, issuer, client, secret or jwk, scope, resource or audience, dpop}   gets an access token -> {token, type, algorithm}
//   {do: "call", session, url}                                                              uses it -> {status, challenge, sent}
//
// sent is the header of the last request. A session has a key of its own. Every library goes through a nonce challenge as its documentation says.
import { createInterface } from 'node:readline';

import * as proofs from 'dpop';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';

const key = (jwk) => crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: jwk.crv }, false, ['sign']);

const grant = ({ scope, resource, audience }) => new URLSearchParams(audience ? { scope, audience } : { scope, resource });

// The header of the last request, which is what a thief would have of it.
let sent;
const send = globalThis.fetch;
globalThis.fetch = (url, request) => {
  sent = Object.fromEntries(new Headers(request?.headers));
  return send(url, request);
};

class OAuth4WebAPI {
  async token(command) {
    const issuer = new URL(command.issuer);
    const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer));
    const client = { client_id: command.client };
    const authentication = command.jwk
      ? oauth.PrivateKeyJwt(await key(command.jwk))
      : oauth.ClientSecretBasic(command.secret);
    if (command.dpop) this.options = { DPoP: oauth.DPoP(client, await oauth.generateKeyPair('ES256')) };
    const answer = await this.#again(async () =>
      oauth.processClientCredentialsResponse(server, client,
        await oauth.clientCredentialsGrantRequest(server, client, authentication, grant(command), this.options)));
    this.accessToken = answer.access_token;
    return { token: answer.access_token, type: answer.token_type, algorithm: command.dpop && 'ES256' };
  }

  async call({ url }) {
    try {
      const response = await this.#again(() =>
        oauth.protectedResourceRequest(this.accessToken, 'GET', new URL(url), undefined, undefined, this.options));
      return { status: response.status };
    } catch (err) {
      return refused(err);
    }
  }

  async #again(send) {
    try {
      return await send();
    } catch (err) {
      if (!oauth.isDPoPNonceError(err)) throw err;
      return send(); // The handle has learned the nonce.
    }
  }
}

class OpenIDClient {
  async token(command) {
    const authentication = command.jwk
      ? openid.PrivateKeyJwt(await key(command.jwk))
      : openid.ClientSecretBasic(command.secret);
    this.configuration = await openid.discovery(new URL(command.issuer), command.client, undefined, authentication);
    if (command.dpop) {
      this.options = { DPoP: openid.getDPoPHandle(this.configuration, await openid.randomDPoPKeyPair('PS256')) };
    }
    const answer = await openid.clientCredentialsGrant(this.configuration, grant(command), this.options);
    this.accessToken = answer.access_token;
    return { token: answer.access_token, type: answer.token_type, algorithm: command.dpop && 'PS256' };
  }

  async call({ url }) {
    try {
      const response = await openid.fetchProtectedResource(
        this.configuration, this.accessToken, new URL(url), 'GET', undefined, undefined, this.options);
      return { status: response.status };
    } catch (err) {
      return refused(err);
    }
  }
}

class DPoP {
  nonces = {};

  async token(command) {
    const discovery = await fetch(`${command.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
    const server = await discovery.json();
    const ours = ['Ed25519', 'ES256'];
    const algorithm = ours.find((alg) => server.dpop_signing_alg_values_supported.includes(alg));
    this.pair = await proofs.generateKeyPair(algorithm);
    const response = await this.#send(server.token_endpoint, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${command.client}:${command.secret}`)}` },
      body: new URLSearchParams([['grant_type', 'client_credentials'], ...grant(command)]),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(JSON.stringify(answer));
    this.accessToken = answer.access_token;
    return { token: answer.access_token, type: answer.token_type, algorithm };
  }

  async call({ url }) {
    const response = await this.#send(url, { method: 'GET', headers: { authorization: `DPoP ${this.accessToken}` } }, this.accessToken);
    return { status: response.status, challenge: response.headers.get('www-authenticate') };
  }

  async #send(url, request, accessToken) {
    const { origin } = new URL(url);
    for (let attempt = 1; ; attempt++) {
      const before = this.nonces[origin];
      const dpop = await proofs.generateProof(this.pair, url, request.method, before, accessToken);
      const response = await fetch(url, { ...request, headers: { ...request.headers, dpop } });
      this.nonces[origin] = response.headers.get('dpop-nonce') ?? before;
      const challenged = (response.status === 400 || response.status === 401) && this.nonces[origin] !== before;
      if (!challenged || attempt === 2) return response;
      await response.arrayBuffer();
    }
  }
}

// refused is what came of a call whose challenge the library has thrown.
function refused(err) {
  if (!err.cause?.length || !err.response) throw err;
  return { status: err.response.status, challenge: err.response.headers.get('www-authenticate') };
}

const libraries = { oauth4webapi: OAuth4WebAPI, 'openid-client': OpenIDClient, dpop: DPoP };
const sessions = new Map();

async function run(command) {
  if (!sessions.has(command.session)) sessions.set(command.session, new libraries[command.library]());
  return { ...await sessions.get(command.session)[command.do](command), sent };
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await run(JSON.parse(line)).catch((err) => ({ error: `${err.stack} ${JSON.stringify(err.cause ?? null)}` }));
  console.log(JSON.stringify(answer));
}
