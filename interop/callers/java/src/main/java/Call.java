import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jose.jwk.gen.ECKeyGenerator;
import com.nimbusds.oauth2.sdk.*;
import com.nimbusds.oauth2.sdk.auth.*;
import com.nimbusds.oauth2.sdk.dpop.*;
import com.nimbusds.oauth2.sdk.http.*;
import com.nimbusds.oauth2.sdk.id.*;
import com.nimbusds.oauth2.sdk.token.DPoPAccessToken;
import com.nimbusds.openid.connect.sdk.Nonce;
import com.nimbusds.openid.connect.sdk.op.OIDCProviderMetadata;
import java.net.URI;

/** Calls a guarded service with DPoP: Nimbus makes the proofs. */
public class Call {
    public static void main(String[] args) throws Exception {
        var env = System.getenv();
        var metadata = OIDCProviderMetadata.resolve(new Issuer(env.get("ISSUER")));
        var key = new ECKeyGenerator(Curve.P_256).generate();
        var proofs = new DefaultDPoPProofFactory(key, JWSAlgorithm.ES256);

        // The token request, and once more if the issuer wants a nonce.
        var grant = new TokenRequest.Builder(metadata.getTokenEndpointURI(),
            new ClientSecretBasic(new ClientID(env.get("CLIENT_ID")), new Secret(env.get("CLIENT_SECRET"))),
            new ClientCredentialsGrant()).scope(new Scope("orders:read")).build();
        HTTPResponse answer = null;
        Nonce nonce = null;
        for (int attempt = 0; attempt < 2 && (answer == null || answer.getStatusCode() == 400 && nonce != null); attempt++) {
            var request = grant.toHTTPRequest();
            request.setDPoP(proofs.createDPoPJWT("POST", metadata.getTokenEndpointURI(), nonce));
            answer = request.send();
            nonce = answer.getDPoPNonce();
        }
        var token = (DPoPAccessToken) TokenResponse.parse(answer).toSuccessResponse().getTokens().getAccessToken();

        // The call, and once more if the service wants a nonce.
        var url = new URI(env.get("URL"));
        var htu = new URI(url.getScheme(), url.getAuthority(), url.getPath(), null, null); // without query
        HTTPResponse response = null;
        nonce = null;
        for (int attempt = 0; attempt < 2 && (response == null || response.getStatusCode() == 401 && nonce != null); attempt++) {
            var request = new HTTPRequest(HTTPRequest.Method.GET, url);
            request.setAuthorization(token.toAuthorizationHeader());
            request.setDPoP(proofs.createDPoPJWT("GET", htu, token, nonce));
            response = request.send();
            nonce = response.getDPoPNonce();
        }
        System.out.println(response.getStatusCode());
    }
}
