package example;

import java.util.Objects;

import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.oauth2.jwt.JwtClaimValidator;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;
import org.springframework.security.oauth2.jwt.SupplierJwtDecoder;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/**
 * A resource server of Spring Security for access tokens of RFC 9068, as its reference describes it.
 * oauth2ResourceServer with jwt verifies DPoP proofs too.
 */
@SpringBootApplication
@RestController
public class Server {

	public static void main(String[] args) {
		SpringApplication.run(Server.class, args);
	}

	@Bean
	SecurityFilterChain guardedRoute(HttpSecurity http) throws Exception {
		return http.securityMatcher("/guarded")
				.authorizeHttpRequests((requests) -> requests.anyRequest().authenticated())
				.oauth2ResourceServer((server) -> server.jwt(Customizer.withDefaults()))
				.build();
	}

	/** Asks the issuer for its metadata when the first token comes in, as that of Spring Boot does. */
	@Bean
	JwtDecoder accessTokens(@Value("${ISSUER}") String issuer, @Value("${AUDIENCE}") String audience) {
		return new SupplierJwtDecoder(() -> {
			NimbusJwtDecoder decoder = NimbusJwtDecoder.withIssuerLocation(issuer).build();
			decoder.setJwtValidator(JwtValidators.createAtJwtValidator()
					.issuer(issuer)
					.audience(audience)
					.validators((all) -> all.put("client_id", new JwtClaimValidator<String>("client_id", Objects::nonNull)))
					.build()); // clientId(...) would admit a single client
			return decoder;
		});
	}

	@GetMapping("/guarded")
	String guarded() {
		return "ok";
	}

	/** No filter chain matches this path. */
	@GetMapping("/bare")
	String bare() {
		return "ok";
	}

}
