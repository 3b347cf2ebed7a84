package example;

import java.time.Duration;
import java.util.List;
import java.util.UUID;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.server.authorization.OAuth2TokenType;
import org.springframework.security.oauth2.server.authorization.client.InMemoryRegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClient;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.settings.AuthorizationServerSettings;
import org.springframework.security.oauth2.server.authorization.settings.ClientSettings;
import org.springframework.security.oauth2.server.authorization.settings.TokenSettings;
import org.springframework.security.oauth2.server.authorization.token.JwtEncodingContext;
import org.springframework.security.oauth2.server.authorization.token.OAuth2TokenCustomizer;

/** Spring Authorization Server with the clients of the interop tests. */
@SpringBootApplication
public class Server {

	public static void main(String[] args) {
		SpringApplication.run(Server.class, args);
		System.out.println("listening");
	}

	@Bean
	OAuth2TokenCustomizer<JwtEncodingContext> accessTokens() {
		return (context) -> {
			if (OAuth2TokenType.ACCESS_TOKEN.equals(context.getTokenType())) {
				String client = context.getRegisteredClient().getClientId();
				context.getJwsHeader().type("at+jwt");
				context.getClaims().audience(audiencesOf(client)).claim("client_id", client);
			}
		};
	}

	private static List<String> audiencesOf(String client) {
		return List.of(client.equals("elsewhere") ? "https://elsewhere.example" : "https://api.example");
	}

	@Bean
	AuthorizationServerSettings settings() {
		return AuthorizationServerSettings.builder().issuer(System.getenv("ISSUER")).build();
	}

	@Bean
	RegisteredClientRepository clients() {
		String service = System.getenv("INTEROP_SERVICE");
		return new InMemoryRegisteredClientRepository(
				client("bearer").build(),
				client("elsewhere").build(),
				client("user").build(),
				client("dpop").build(),
				client("caller").build(),
				client("certificate").clientSecret(null)
						.clientAuthenticationMethods((methods) -> methods.clear())
						.clientAuthenticationMethod(ClientAuthenticationMethod.TLS_CLIENT_AUTH)
						.clientSettings(ClientSettings.builder().x509CertificateSubjectDN("CN=machine").build())
						.tokenSettings(tokens().x509CertificateBoundAccessTokens(true).build())
						.build(),
				assertion("signed", service + "/signed.json"),
				assertion("api", service + "/jwks.json"));
	}

	private static TokenSettings.Builder tokens() {
		return TokenSettings.builder().accessTokenTimeToLive(Duration.ofHours(1));
	}

	private static RegisteredClient.Builder client(String id) {
		return RegisteredClient.withId(UUID.randomUUID().toString())
				.clientId(id)
				.clientSecret("{noop}" + id + "-secret")
				.clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_BASIC)
				.authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
				.authorizationGrantType(AuthorizationGrantType.AUTHORIZATION_CODE)
				.authorizationGrantType(AuthorizationGrantType.REFRESH_TOKEN)
				.redirectUri("https://client.example/callback")
				.scope("openid").scope("orders").scope("orders:read").scope("orders:write")
				.tokenSettings(tokens().build());
	}

	private static RegisteredClient assertion(String id, String keys) {
		return client(id).clientSecret(null)
				.clientAuthenticationMethods((methods) -> methods.clear())
				.clientAuthenticationMethod(ClientAuthenticationMethod.PRIVATE_KEY_JWT)
				.clientSettings(ClientSettings.builder().jwkSetUrl(keys)
						.tokenEndpointAuthenticationSigningAlgorithm(SignatureAlgorithm.ES256).build())
				.build();
	}

}
