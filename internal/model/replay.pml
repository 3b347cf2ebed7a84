/* One proof at the replay memory of a process: buckets of time, a wall clock that is set
 * forward and back, and requests that are slow between their checks and the memory.
 * It is dpop.MemoryCache (internal/replayset) in small numbers: seconds become ticks.
 *
 * DPOP-11.1-03, DPOP-11.1-06, DPOP-11.1-07: the proof is accepted once at the most.
 *
 * Faults that must be found: NOPAST forgets which times it has dropped; TWOSTEPS looks and
 * records in two steps; RESTART starts the process anew, for which the real one needs a store
 * (store.pml): the memory of a process does not outlive it, as its documentation says.
 */
#define LIFE   3  /* of a proof */
#define SLACK  1  /* remembered beyond, for the time that checks take */
#define WIDTH  2  /* of a bucket */
#define IAT    3
#define END    12

byte mono = 2;      /* the monotonic clock */
short wall = 2;     /* the wall clock */
byte steps = 0;     /* how often it was set */
byte accepted = 0;

bool present = false; /* the proof is in a bucket */
short end = 0;        /* of that bucket */
byte deadline = 0;    /* the same instant on the monotonic clock */
short dropped = 0;    /* the end of the latest bucket that was given up */

#define UNTIL (IAT + LIFE + SLACK)
#define EXPIRED (wall >= end && mono >= deadline)

#ifdef NOPAST
#define FORGOTTEN false
#else
#define FORGOTTEN (UNTIL < dropped)
#endif

inline rotate() {
	if
	:: present && EXPIRED ->
		present = false;
		if
		:: end > dropped -> dropped = end
		:: else
		fi
	:: else
	fi
}

active proctype clock() {
	do
	:: mono < END -> atomic { mono++; wall++ }
	:: steps < 2 && mono < END -> atomic { steps++;
		if
		:: wall = wall + 3
		:: wall = wall + 6
		:: wall > 3 -> wall = wall - 3
		:: wall > 6 -> wall = wall - 6
		fi }
	:: present && EXPIRED -> atomic { rotate() } /* another proof came */
#ifdef RESTART
	:: present -> atomic { present = false; dropped = 0 }
#endif
	:: mono >= END -> break
	od
}

/* A request with the proof. It may be sent at any time, and the checks may take a tick. */
active [2] proctype request() {
	byte began;
	bool good;
	atomic {
		began = mono;
		good = wall - LIFE <= IAT && IAT <= wall + SLACK
	}
	if
	:: !good -> goto done
	:: else
	fi;
	/* The check and the memory read the clock one after the other. That the clock is set
	 * in between by more than the slack is out of scope: nothing could tell. */
	atomic {
		if
		:: mono - began > SLACK || wall > UNTIL -> goto done /* ErrPast: asked to remember until a past time */
		:: else
		fi;
		rotate();
		if
		:: FORGOTTEN -> goto done
		:: else
		fi
	}
#ifdef TWOSTEPS
	bool seen = present;
	atomic {
		if
		:: seen -> goto done
		:: else
		fi;
#else
	atomic {
		if
		:: FORGOTTEN || present -> goto done
		:: else
		fi;
#endif
		present = true;
		end = (UNTIL / WIDTH + 1) * WIDTH;
		deadline = mono + (end > wall -> end - wall : 0);
		accepted++;
		assert(accepted <= 1)
	}
done:
	skip
}
