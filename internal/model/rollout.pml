/* The stages from bearer tokens to DPoP: the service learns DPoP, clients upgrade one by one,
 * the issuer binds their tokens, the rule that tokens must be bound is off, then reports, then
 * enforces; and back, at any time. Clients that send bound tokens as Bearer may be listed until
 * a date.
 *
 * DPOP-7.2-01: a bound token passes without its proof only for a listed client, before the date.
 * DPOP-7.2-02: what report says would be refused is what enforce refuses, and nothing else.
 * A client that sends proofs for bound tokens is never refused.
 *
 * Faults that must be found: DOWNGRADE takes bound tokens as Bearer; FOREVER forgets the date;
 * LAX reports with another rule than it enforces.
 */
#define CLIENTS 2
#define DATE 2
mtype = { off, report, enforce };

mtype stage = off;
byte now = 0;
bool sends[CLIENTS] = false; /* proofs */
bool binds[CLIENTS] = false; /* the issuer, its tokens */
bool listed[CLIENTS] = false;
bool serviceKnows = false;

active proctype operator() {
	byte i;
	serviceKnows = true;
	do
	:: now < 4 -> now++
	:: stage = off
	:: stage = report
	:: stage = enforce
	:: i = 0; listed[i] = !listed[i]
	:: now >= 4 -> break
	od
}

active proctype issuer() {
	byte i;
	(serviceKnows); /* docs: service first */
	do
	:: i < CLIENTS -> binds[i] = true; i++
	:: i >= CLIENTS -> break
	od
}

active [CLIENTS] proctype client() {
	byte me = _pid - 2, n = 0;
	bool bound, proof, accepted, wouldDeny, refusedByRule, exempt;
	do
	:: n < 2 ->
		atomic {
			n++;
			bound = binds[me];
			proof = sends[me] && bound;
#ifdef FOREVER
			exempt = listed[me];
#else
			exempt = listed[me] && now < DATE;
#endif
#ifdef DOWNGRADE
			accepted = true;
#else
			accepted = !bound || proof || exempt;
#endif
			refusedByRule = !bound; /* the rule: bound tokens only */
#ifdef LAX
			wouldDeny = false;
#else
			wouldDeny = stage == report && refusedByRule;
#endif
			if
			:: stage == enforce && refusedByRule -> accepted = false
			:: else
			fi;
			assert(!(accepted && bound && !proof && !(listed[me] && now < DATE)));
			assert(stage != report || wouldDeny == refusedByRule);
			assert(!(proof && !accepted));
			bound = false; proof = false; accepted = false; wouldDeny = false; refusedByRule = false; exempt = false
		}
	:: !sends[me] -> sends[me] = true
	:: n >= 2 -> break
	od
}
