//! Who may hold a connection of a listener: so many in all, so many of one peer.
//!
//! A listener that is full is not silent: whoever waits with a connection on which nothing is asked makes
//! room for the next, first those of the peer that holds the most. Each listener has its own seats, so that
//! a Unix socket goes on while a TCP port is full.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::access::Peer;
use crate::metrics::Connections;

/// The seats of a listener.
pub(super) struct Seats {
    taken: Mutex<Taken>,
    max: usize,
    max_of_peer: usize,
    /// Told when a seat is free.
    freed: Notify,
    pub(super) counts: Arc<Connections>,
}

#[derive(Default)]
struct Taken {
    seats: HashMap<u64, Arc<Seat>>,
    of_peer: HashMap<Who, usize>,
    next: u64,
}

/// A peer, whatever port or process it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    User(Option<u32>),
}

/// A connection's seat.
pub(super) struct Seat {
    who: Who,
    /// A request is under way.
    busy: AtomicBool,
    /// Larger, the later it began to wait.
    waits_since: AtomicU64,
    leave: Notify,
}

/// A seat that is held. Dropping it frees the seat.
pub(super) struct HeldSeat {
    seats: Arc<Seats>,
    number: u64,
    pub(super) seat: Arc<Seat>,
}

/// Why there was no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// The listener is full, and on every connection a request is under way.
    Listener,
    /// The peer has as many as it may, and on each of them a request is under way.
    Peer,
}

// === impl Seats ===

impl Seats {
    pub(super) fn new(max: usize, max_of_peer: usize, counts: Arc<Connections>) -> Arc<Seats> {
        let taken = Mutex::default();
        Arc::new(Seats { taken, max, max_of_peer, freed: Notify::new(), counts })
    }

    /// Takes a seat. If none is free, a connection that waits without a request is asked to close; its place is
    /// free at once.
    pub(super) fn take(self: &Arc<Seats>, peer: &Peer) -> Result<HeldSeat, NoSeat> {
        let who = Who::of(peer);
        let mut taken = self.taken();
        if taken.of_peer.get(&who).copied().unwrap_or_default() >= self.max_of_peer {
            self.make_room(&mut taken, |seat| seat.who == who).ok_or(NoSeat::Peer)?;
        }
        if taken.seats.len() >= self.max {
            self.make_room(&mut taken, |_| true).ok_or(NoSeat::Listener)?;
        }
        taken.next += 1;
        let number = taken.next;
        let waits_since = AtomicU64::new(number);
        let seat = Arc::new(Seat { who, busy: AtomicBool::new(false), waits_since, leave: Notify::new() });
        taken.seats.insert(number, seat.clone());
        *taken.of_peer.entry(who).or_default() += 1;
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        drop(taken);
        Ok(HeldSeat { seats: self.clone(), number, seat })
    }

    /// Returns when a seat may be free.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Asks one of these to leave: of the peer with the most, the one that has waited longest.
    fn make_room(&self, taken: &mut Taken, of: impl Fn(&Seat) -> bool) -> Option<()> {
        let waiting = taken.seats.iter().filter(|(_, seat)| of(seat) && !seat.busy.load(Ordering::Acquire));
        let of_peer = &taken.of_peer;
        let longest = |seat: &Seat| std::cmp::Reverse(seat.waits_since.load(Ordering::Relaxed));
        let (number, seat) = waiting
            .max_by_key(|(_, seat)| (of_peer.get(&seat.who).copied().unwrap_or_default(), longest(seat)))
            .map(|(number, seat)| (*number, seat.clone()))?;
        seat.leave.notify_one();
        self.counts.evicted.fetch_add(1, Ordering::Relaxed);
        self.free(taken, number);
        Some(())
    }

    fn free(&self, taken: &mut Taken, number: u64) {
        let Some(seat) = taken.seats.remove(&number) else { return };
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(count) = taken.of_peer.get_mut(&seat.who) {
            *count -= 1;
            if *count == 0 {
                taken.of_peer.remove(&seat.who);
            }
        }
        self.freed.notify_one();
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Seat ===

impl Seat {
    /// A request is under way: the connection cannot be asked to leave.
    pub(super) fn begin(&self) {
        self.busy.store(true, Ordering::Release);
    }

    /// The answer is made: the connection waits for the next request.
    pub(super) fn end(&self, request: u64) {
        self.waits_since.store(request, Ordering::Relaxed);
        self.busy.store(false, Ordering::Release);
    }

    /// Returns once the connection should make room for another.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Whether a request is under way after all.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }
}

impl Drop for HeldSeat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        self.seats.free(&mut taken, self.number);
    }
}

impl Who {
    fn of(peer: &Peer) -> Who {
        match peer {
            Peer::Tcp(address) => Who::Address(address.ip().to_canonical()),
            Peer::Unix { uid, .. } => Who::User(*uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::Tcp(([192, 0, 2, last], 5000).into())
    }

    fn seats(max: usize, of_peer: usize) -> Arc<Seats> {
        Seats::new(max, of_peer, Arc::default())
    }

    fn is_asked(held: &HeldSeat) -> bool {
        use futures_util::FutureExt as _;
        held.seat.asked_to_leave().now_or_never().is_some()
    }

    #[test]
    fn whoever_waits_longest_makes_room_for_the_next() {
        let seats = seats(2, 2);
        let first = seats.take(&peer(1)).ok().unwrap();
        let second = seats.take(&peer(2)).ok().unwrap();
        let third = seats.take(&peer(3));
        assert!(third.is_ok());
        assert!(is_asked(&first) && !is_asked(&second));
        assert_eq!(seats.counts.evicted.load(Ordering::Relaxed), 1);
        drop(first);
        assert_eq!(seats.counts.open.load(Ordering::Relaxed), 2, "its seat is not freed twice");
    }

    #[test]
    fn the_peer_that_holds_the_most_loses_first() {
        let seats = seats(3, 3);
        let honest = seats.take(&peer(1)).ok().unwrap();
        let (flood, _more) = (seats.take(&peer(9)).ok().unwrap(), seats.take(&peer(9)).ok().unwrap());
        assert!(seats.take(&peer(2)).is_ok());
        assert!(is_asked(&flood) && !is_asked(&honest));
    }

    #[test]
    fn a_connection_with_a_request_under_way_is_never_asked() {
        let seats = seats(2, 1);
        let busy = seats.take(&peer(1)).ok().unwrap();
        busy.seat.begin();
        assert_eq!(seats.take(&peer(1)).err(), Some(NoSeat::Peer));
        let other = seats.take(&peer(2)).ok().unwrap();
        other.seat.begin();
        assert_eq!(seats.take(&peer(3)).err(), Some(NoSeat::Listener));
        assert!(!is_asked(&busy) && !is_asked(&other));
        busy.seat.end(7);
        assert!(seats.take(&peer(3)).is_ok());
    }
}
