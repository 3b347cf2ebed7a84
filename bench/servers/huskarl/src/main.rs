//! huskarl, as the examples of huskarl-axum set it up: an RFC 9068 validator from the issuer's metadata, which takes
//! bearer tokens and verifies DPoP proofs. CRYPTO=aws-lc has AWS-LC verify the signatures.
mod awslc;

use std::{env::var, sync::Arc};

use axum::{Router, routing::get};
use huskarl_axum::{
    layers::ValidatorLayer,
    resource_server::{
        core::{crypto::verifier::JwsVerifierPlatform, server_metadata::AuthorizationServerMetadata},
        validator::rfc9068::Rfc9068Validator,
    },
};

#[tokio::main]
async fn main() {
    let issuer = var("ISSUER").expect("ISSUER");
    let audience = var("AUDIENCE").expect("AUDIENCE");
    let port = var("PORT").expect("PORT");

    let platform = match var("CRYPTO").as_deref() {
        Ok("aws-lc") => Some(Arc::new(awslc::Platform) as Arc<dyn JwsVerifierPlatform>),
        _ => None, // huskarl's own, of RustCrypto
    };

    let client = huskarl_reqwest::ReqwestClient::builder().build().await.expect("HTTP client");
    let metadata = AuthorizationServerMetadata::fetch()
        .http_client(&client)
        .issuer(&issuer)
        .call()
        .await
        .expect("the issuer's metadata");
    let validator = Rfc9068Validator::builder_from_metadata(&metadata)
        .audience(audience)
        .jwks_source(client)
        .maybe_jws_verifier_platform(platform)
        .build()
        .await
        .expect("validator");
    let guard = ValidatorLayer::builder()
        .validator(validator)
        .base_url(format!("http://127.0.0.1:{port}"))
        .expect("base URL")
        .build();

    let app = Router::new()
        .route("/guarded", get(|| async { "ok" }))
        .layer(guard.authenticated())
        .route("/bare", get(|| async { "ok" }));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("listen");
    axum::serve(listener, app).await.expect("serve");
}
