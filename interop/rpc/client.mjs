// A client of @grpc/grpc-js that proves its key by call credentials (DPoP over gRPC). It
// prints one line of JSON for each thing that it does.
import { readFileSync } from 'node:fs';
import grpc from '@grpc/grpc-js';
import * as DPoP from 'dpop';

const { ADDRESS, CA, TOKEN } = process.env;
const jwk = JSON.parse(process.env.JWK);
const { d, ...publicJWK } = jwk;
const ec = { name: 'ECDSA', namedCurve: 'P-256' };
const keys = {
  privateKey: await crypto.subtle.importKey('jwk', jwk, ec, false, ['sign']),
  publicKey: await crypto.subtle.importKey('jwk', publicJWK, ec, true, ['verify']),
};
let nonce, last, made = 0;
// service_url has no port, so the proof names the address that is dialled.
const credentials = grpc.credentials.createFromMetadataGenerator(({ method_name }, done) => {
  made++;
  const htu = 'https://' + ADDRESS + method_name;
  DPoP.generateProof(keys, htu, 'POST', nonce, TOKEN).then((proof) => {
    const metadata = new grpc.Metadata();
    metadata.set('authorization', 'DPoP ' + TOKEN);
    metadata.set('dpop', (last = proof));
    done(null, metadata);
  }, done);
});
const tls = grpc.credentials.createSsl(readFileSync(CA));
const plain = new grpc.Client(ADDRESS, tls);
const client = new grpc.Client(ADDRESS, grpc.credentials.combineChannelCredentials(tls, credentials));
const identity = (message) => message;
const text = (metadata, key) => metadata?.get(key).join(', ') ?? '';
const say = (did, more) => console.log(JSON.stringify({ did, ...more }));

function check(client, metadata = new grpc.Metadata()) {
  return new Promise((resolve) => {
    let trailer;
    const call = client.makeUnaryRequest('/grpc.health.v1.Health/Check', identity, identity, Buffer.alloc(0), metadata, (error) => {
      if (error) resolve({ code: grpc.status[error.code], message: error.details, challenge: text(error.metadata, 'www-authenticate'), nonce: text(error.metadata, 'dpop-nonce') });
      else setImmediate(() => resolve({ code: 'OK', nonce: text(trailer, 'dpop-nonce') }));
    });
    call.on('status', (status) => (trailer = status.metadata));
  });
}

say('plain', await check(plain));
const first = await check(client);
say('first', first);
nonce = first.nonce;
say('retry', await check(client));
say('next', await check(client));
const replay = new grpc.Metadata();
replay.set('authorization', 'DPoP ' + TOKEN);
replay.set('dpop', last);
say('replay', await check(plain, replay));
await new Promise((resolve, reject) => {
  const stream = client.makeServerStreamRequest('/grpc.health.v1.Health/Watch', identity, identity, Buffer.alloc(0));
  stream.on('error', (error) => (error.code === grpc.status.CANCELLED ? undefined : reject(error)));
  stream.once('data', () => {
    stream.cancel();
    resolve();
  });
});
say('stream', { code: 'OK', proofs: made });
client.close();
plain.close();
