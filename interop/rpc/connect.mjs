// A client of @connectrpc/connect that proves its key by an interceptor, in one of its
// protocols. It prints one line of JSON for each thing that it does.
import { readFileSync } from 'node:fs';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import * as DPoP from 'dpop';

const { ADDRESS, CA, TOKEN, PROTOCOL, DESCRIPTOR } = process.env;
const jwk = JSON.parse(process.env.JWK);
const { d, ...publicJWK } = jwk;
const ec = { name: 'ECDSA', namedCurve: 'P-256' };
const keys = {
  privateKey: await crypto.subtle.importKey('jwk', jwk, ec, false, ['sign']),
  publicKey: await crypto.subtle.importKey('jwk', publicJWK, ec, true, ['verify']),
};
let nonce, made = 0;
const byGET = PROTOCOL === 'get';
// The transport makes a GET of the call behind the interceptors, where requestMethod is
// still POST.
const methodOf = (call) => (byGET && call.method.idempotency === 1 ? 'GET' : 'POST');
const sign = async (request) => {
  made++;
  const url = new URL(request.url);
  const proof = await DPoP.generateProof(keys, url.origin + url.pathname, methodOf(request), nonce, TOKEN);
  request.header.set('Authorization', 'DPoP ' + TOKEN);
  request.header.set('DPoP', proof);
};
// One retry, with the nonce of the refusal.
const dpop = (next) => async (request) => {
  await sign(request);
  try {
    return await next(request);
  } catch (e) {
    const error = ConnectError.from(e);
    const asks = (error.metadata.get('www-authenticate') ?? '').includes('use_dpop_nonce');
    if (error.code !== Code.Unauthenticated || !asks) throw e;
    nonce = error.metadata.get('dpop-nonce');
    await sign(request);
    return next(request);
  }
};
const transports = { connect: createConnectTransport, get: createConnectTransport, grpc: createGrpcTransport, 'grpc-web': createGrpcWebTransport };
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(DESCRIPTOR)));
const service = registry.getService('grpc.health.v1.Health');
const client = (...interceptors) => createClient(service, transports[PROTOCOL]({
  baseUrl: 'https://' + ADDRESS, httpVersion: '2', nodeOptions: { ca: readFileSync(CA) }, interceptors, useHttpGet: byGET,
}));
const say = (did, more) => console.log(JSON.stringify({ did, ...more }));
try {
  await client().check({});
  say('plain', { code: 'OK' });
} catch (e) {
  const error = ConnectError.from(e);
  say('plain', { code: Code[error.code], message: error.rawMessage, challenge: error.metadata.get('www-authenticate') ?? '' });
}
const signing = client(dpop);
await signing.check({});
say('first', { code: 'OK', proofs: made });
await signing.check({});
say('next', { code: 'OK', proofs: made });
for await (const _ of signing.watch({})) break;
say('stream', { code: 'OK', proofs: made });
process.exit(0);
