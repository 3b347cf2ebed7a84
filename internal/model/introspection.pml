/* What an introspector remembers of one token: that it is active, with a time until which that
 * is believed and one until which it serves while the issuer cannot be asked; and refusals.
 * Two replicas share a store of positive answers.
 *
 * INTRO-2.3-01, INTRO-4-01, INTRO-4-03: a revoked token is accepted for FRESH at the most while
 * the issuer answers, for FRESH + STALE while it does not, and never past exp; an answer of the
 * issuer ends a stale one; a refusal is not outweighed by an answer to an older question.
 *
 * Faults that must be found: BEYOND does not cut answers at exp; KEEPS keeps the remembered
 * answer after a refusal; STORED takes an answer from the store that is older than a refusal;
 * STALEALWAYS serves stale answers without asking.
 */
#define FRESH 2
#define STALE 2
#define EXP   5
#define REFUSED 1
#define END   7
#define min(a, b) ((a) < (b) -> (a) : (b))
#ifdef BEYOND
#define CUT(t) (t)
#else
#define CUT(t) min(t, EXP)
#endif

byte now = 0;
bool up = true;
byte changes = 0; /* of up */
bool revoked = false;
byte revokedAt = 0;

bool inStore = false;
byte storeAsked = 0;

active proctype world() {
	do
	:: now < END -> atomic { now++ }
	:: !revoked -> atomic { revoked = true; revokedAt = now }
	:: changes < 2 -> atomic { up = !up; changes++ }
	:: now >= END -> break
	od
}

proctype replica(byte most) {
	bool have = false, ok = false, known = false;
	byte asked = 0;     /* when the answer that it has was asked for */
	bool saidNo = false;
	byte saidNoAt = 0;
	bool asking = false, says = false;
	byte since = 0;
	byte n = 0;
	do
	:: asking -> /* the issuer's answer arrives */
		atomic {
			asking = false;
			if
			:: says ->
				have = true; asked = since; inStore = true; storeAsked = since;
				ok = now < CUT(since + FRESH)
			:: else ->
				saidNo = true; saidNoAt = since;
#ifndef KEEPS
				have = false
#endif
			fi;
			assert(!(ok && now >= EXP));
			ok = false; since = 0; says = false
		}
	:: !asking && n < most && now < END ->
		atomic {
			n++;
			if
			:: have && now < CUT(asked + FRESH) -> ok = true; known = true
			:: else
			fi;
			if
			:: !known && saidNo && now < saidNoAt + REFUSED -> known = true
			:: else
			fi;
			if /* another replica's answer */
#ifdef STORED
			:: !known && inStore && now < CUT(storeAsked + FRESH) ->
#else
			:: !known && inStore && now < CUT(storeAsked + FRESH) && (!saidNo || storeAsked > saidNoAt) ->
#endif
				have = true; asked = storeAsked; ok = true; known = true
			:: else
			fi;
#ifdef STALEALWAYS
			if
			:: !known && have && now < CUT(asked + FRESH + STALE) -> ok = true; known = true
			:: else
			fi;
#endif
			if
			:: known -> skip
			:: !known && up -> asking = true; since = now; says = !revoked && now < EXP
			:: !known && !up && have && now < CUT(asked + FRESH + STALE) -> ok = true
			:: else -> skip /* 503 */
			fi;
			assert(!(ok && now >= EXP));
			/* What this replica was told outweighs whatever was asked before. */
			assert(!(ok && saidNo && asked <= saidNoAt));
			assert(!(ok && revoked && now >= revokedAt + FRESH + STALE));
			assert(!(ok && revoked && up && now >= revokedAt + FRESH));
			ok = false; known = false
		}
	:: !asking && (n >= most || now >= END) -> break
	od
}

init { atomic { run replica(3); run replica(2) } }
