// An issuer made of oidc-provider, over TLS on loopback:
//
//   node server.mjs settings.json
//
// settings.json has port, certificate, key, authority (files), state (a directory: keys and tokens survive a restart in it),
// clients, resources: a map from a resource indicator to the format of its access tokens, jwt or opaque, and roles: a map from a
// client to what its tokens say in realm_access.roles. It writes a line to stdout when it listens. On SIGHUP it signs with a new key, publishes the one before it too, and writes a line again.
import { generateKeyPairSync, randomUUID, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';

import Provider from 'oidc-provider';

console.info = console.error; // What the library says; stdout has the lines above alone.

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `https://localhost:${settings.port}`;
const scopes = 'orders orders:read orders:write';

// stored is an object that is kept in a file.
function stored(name, initial) {
  const path = join(settings.state, name);
  const value = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : initial();
  const save = () => writeFileSync(path, JSON.stringify(value));
  save();
  return { value, save };
}

function newKey() {
  const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  return { ...jwk, use: 'sig', alg: 'ES256', kid: randomUUID() };
}

const keys = stored('keys.json', () => [newKey()]); // The first one signs.
const records = stored('records.json', () => ({}));

class FileAdapter {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload) {
    records.value[`${this.model}:${id}`] = payload;
    records.save();
  }

  async find(id) {
    return records.value[`${this.model}:${id}`];
  }

  async consume(id) {
    records.value[`${this.model}:${id}`].consumed = Math.floor(Date.now() / 1000);
    records.save();
  }

  async destroy(id) {
    delete records.value[`${this.model}:${id}`];
    records.save();
  }

  async findByUid(uid) {
    const ours = Object.entries(records.value).find(([id, record]) => id.startsWith(`${this.model}:`) && record.uid === uid);
    return ours?.[1];
  }

  async findByUserCode() {}

  async revokeByGrantId() {}
}

function certificateOf(ctx) {
  const { raw } = ctx.req.socket.getPeerCertificate();
  return raw ? new X509Certificate(raw).toString() : undefined;
}

function configuration() {
  return {
    adapter: FileAdapter,
    clients: settings.clients.map((client) => ({
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: 'ES256',
      introspection_signed_response_alg: 'ES256',
      ...client,
    })),
    clientAuthMethods: ['client_secret_basic', 'private_key_jwt'],
    clientBasedCORS: () => true,
    enabledJWA: { dPoPSigningAlgValues: ['ES256', 'PS256', 'Ed25519'] },
    extraTokenClaims: (ctx, { clientId }) => settings.roles[clientId] && { realm_access: { roles: settings.roles[clientId] } },
    fetch: (url, { method, headers }) => fetch(url, { method, headers }), // The default refuses loopback addresses.
    jwks: { keys: keys.value },
    scopes: ['openid', 'offline_access', ...scopes.split(' ')],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true }, // Any user, any password.
      dPoP: {
        enabled: true,
        nonceSecret: Buffer.alloc(32, 1),
        requireNonce: (ctx) => ctx.oidc.client?.clientId === 'nonces',
      },
      introspection: { enabled: true, allowedPolicy: (ctx, client) => ['api', 'gateway'].includes(client.clientId) },
      jwtIntrospection: { enabled: true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        getCertificate: certificateOf,
        certificateAuthorized: (ctx) => ctx.req.socket.authorized,
      },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, resource) => ({
          scope: scopes,
          audience: resource,
          accessTokenFormat: settings.resources[resource],
          accessTokenTTL: 3600,
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
    ttl: { ClientCredentials: 3600 },
  };
}

let callback;
function build() {
  const provider = new Provider(issuer, configuration());
  provider.on('server_error', (ctx, err) => console.error(err));
  provider.on('grant.error', (ctx, err) => console.error(ctx.oidc.client?.clientId, err.message, err.error_detail, err.error_description));
  provider.on('introspection.error', (ctx, err) => console.error(err));
  callback = provider.callback();
}

build();
process.on('SIGHUP', () => {
  keys.value.unshift(newKey());
  keys.value.splice(2);
  keys.save();
  build();
  console.log('rotated');
});
createServer(
  {
    cert: readFileSync(settings.certificate),
    key: readFileSync(settings.key),
    ca: readFileSync(settings.authority),
    requestCert: true,
    rejectUnauthorized: false, // A token can be bound to a self-signed certificate too (RFC 8705, section 7.2).
  },
  (req, res) => callback(req, res),
).listen(settings.port, '127.0.0.1', () => console.log('listening'));
