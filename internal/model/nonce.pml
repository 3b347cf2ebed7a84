/* Nonce keys that rotate across replicas, in the order that dpop.NewNonces gives: the new key
 * to every replica as a previous one, then exchanged on every replica, then the old one
 * dropped after the lifetime. A client uses the newest nonce that it got, wherever.
 *
 * DPOP-8.2-01: no nonce that a replica issued within the lifetime is refused by another one.
 * DPOP-8-03: none is accepted after its lifetime.
 *
 * Faults that must be found: EXCHANGEFIRST leaves the first step out; DROPSOON does not wait
 * before it drops; NOAGE does not look at the age.
 */
#define LIFE 2
#define END  8
#define N    2 /* replicas */

byte now = 0;
bool knowsOld[N] = true, knowsNew[N] = false, usesNew[N] = false;

/* The nonce that the client holds. */
bool have = false, byNew = false;
byte issued = 0;

active proctype clock() {
	do
	:: now < END -> now++
	:: now >= END -> break
	od
}

active proctype operator() {
	byte i, exchanged;
#ifndef EXCHANGEFIRST
	for (i : 0 .. N-1) { knowsNew[i] = true }
#endif
	for (i : 0 .. N-1) { atomic { knowsNew[i] = true; usesNew[i] = true } }
	exchanged = now;
#ifndef DROPSOON
	(now > exchanged + LIFE || now >= END);
	if
	:: now <= exchanged + LIFE -> goto done /* the time of the model is over */
	:: else
	fi;
#endif
	for (i : 0 .. N-1) { knowsOld[i] = false }
done:
	skip
}

active proctype client() {
	byte at;
	bool known, young, accepted;
	byte requests = 0;
	do
	:: requests < 5 ->
		atomic {
			requests++;
			if
			:: at = 0
			:: at = 1
			fi;
			known = have && (byNew -> knowsNew[at] : knowsOld[at]);
			young = have && now - issued <= LIFE;
#ifdef NOAGE
			accepted = known;
#else
			accepted = known && young;
#endif
			assert(!(young && !accepted));       /* DPOP-8.2-01 */
			assert(!(accepted && !young));       /* DPOP-8-03 */
			/* use_dpop_nonce brings a new one, and so does an answer past half of the life */
			if
			:: !accepted || now - issued > LIFE / 2 -> have = true; byNew = usesNew[at]; issued = now
			:: else
			fi
		}
	:: requests >= 5 -> break
	od
}
