//! ES256 by AWS-LC, as a verifier platform for huskarl, which leaves the choice of one to the application. huskarl's
//! own is of RustCrypto.
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use huskarl_axum::resource_server::core::{
    Error,
    crypto::{
        KeyMatchStrength,
        verifier::{CreateVerifierError, JwsVerifier, JwsVerifierPlatform, KeyMatch, VerifyError},
    },
    error::RetryAdvice,
    jwk::{KeyOperation, KeyUse, PublicJwk, PublicKey},
    platform::MaybeSendBoxFuture,
};

#[derive(Debug)]
pub struct Platform;

impl JwsVerifierPlatform for Platform {
    fn create_verifier_from_jwk(
        &self,
        jwk: PublicJwk,
    ) -> MaybeSendBoxFuture<'static, Result<Arc<dyn JwsVerifier>, CreateVerifierError>> {
        Box::pin(async move {
            verifier(jwk)
                .map(|v| Arc::new(v) as Arc<dyn JwsVerifier>)
                .map_err(|text| CreateVerifierError::UnsupportedKey { source: Error::new(RetryAdvice::No, text) })
        })
    }

    fn supported_signature_algorithms(&self) -> &[&str] {
        &["ES256"]
    }
}

#[derive(Debug)]
struct Verifier {
    key: ParsedPublicKey,
    kid: Option<String>,
}

fn verifier(jwk: PublicJwk) -> Result<Verifier, &'static str> {
    let PublicKey::Ec(ec) = jwk.key else { return Err("not an EC key") };
    if ec.crv != "P-256" || jwk.algorithm.as_deref().is_some_and(|alg| alg != "ES256") {
        return Err("not a key for ES256");
    }
    if jwk.key_use.is_some_and(|of| of != KeyUse::Sign)
        || jwk.key_operations.is_some_and(|ops| !ops.contains(&KeyOperation::Verify))
    {
        return Err("not a key for signatures");
    }
    let point = [&[4], ec.x.as_slice(), ec.y.as_slice()].concat();
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| "not a point of P-256")?;
    Ok(Verifier { key, kid: jwk.kid })
}

impl JwsVerifier for Verifier {
    fn key_match(&self, wanted: &KeyMatch<'_>) -> Option<KeyMatchStrength> {
        wanted.strength_for(&["ES256"], self.kid.as_deref())
    }

    fn verify<'a>(
        &'a self,
        input: &'a [u8],
        signature: &'a [u8],
        wanted: &'a KeyMatch<'a>,
    ) -> MaybeSendBoxFuture<'a, Result<(), VerifyError>> {
        Box::pin(async move {
            if self.key_match(wanted).is_none() {
                return Err(VerifyError::NoMatchingKey);
            }
            self.key.verify_sig(input, signature).map_err(|_| VerifyError::SignatureMismatch)
        })
    }
}
