/* One proof at replicas that share a store with a time to live for each entry. The clocks of
 * the replicas differ; the store goes by its own. Replicas crash, answers are lost and asked
 * for again, the store is away for a while and comes back with what it had.
 *
 * DPOP-11.1-03, DPOP-11.1-07, DPOP-11.1-08: at most one acceptance; without an answer of the
 * store none.
 *
 * Faults that must be found: NOSKEW remembers for the lifetime only; FAILOPEN accepts while
 * the store is away; FORGETS is a store that loses what it had when it comes back.
 */
#define LIFE 3
#define SKEW 2 /* the clocks of two replicas differ by no more */
#define IAT  4
#define END  12

byte now = 1;       /* the store's clock */
bool up = true;
byte changes = 0; /* of up */
bool present = false;
byte expires = 0;
byte accepted = 0;

#ifdef NOSKEW
#define UNTIL (IAT + LIFE)
#else
#define UNTIL (IAT + LIFE + SKEW)
#endif

active proctype world() {
	do
	:: now < END -> atomic { now++;
		if
		:: present && now > expires -> present = false
		:: else
		fi }
	:: up && changes < 2 -> atomic { up = false; changes++ }
	:: !up -> atomic { up = true;
#ifdef FORGETS
		present = false
#endif
		}
	:: now >= END && up -> break
	od
}

/* A replica whose clock is ahead of the store's by 0 to SKEW; it takes the proof whenever it
 * comes. A crash leaves nothing behind that the next request does not find in the store. */
proctype replica(byte ahead) {
	byte tries = 0;
	do
	:: tries >= 2 -> break
	:: tries < 2 && now < END ->
		atomic { tries++;
		if
		:: now + ahead > IAT + LIFE || IAT > now + ahead + SKEW -> skip /* outside of the window: 401 */
		:: else ->
			if
			:: !up ->
#ifdef FAILOPEN
				accepted++
#else
				skip /* 503 */
#endif
			:: up && present -> skip /* 401 */
			:: up && !present -> /* SET NX PX until - now, the replica's */
				present = true;
				expires = now + (UNTIL - (now + ahead));
				if
				:: accepted++
				:: skip /* the answer is lost: 503, or the replica crashes */
				fi
			fi
		fi;
		assert(accepted <= 1) }
	:: now >= END -> break
	od
}

init {
	atomic { run replica(0); run replica(SKEW) }
}
