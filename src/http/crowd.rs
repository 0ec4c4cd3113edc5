//! Those who wait before a listener for a seat.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::listener::BoundAddress;
use super::seats::{HeldSeat, NoSeat, Seats};
use crate::access::Peer;

/// The log is told of a listener that stays full this often.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// A listener's seats, and when the log was last told that they are taken.
pub(super) struct Crowd {
    pub(super) seats: Arc<Seats>,
    told: Option<Instant>,
}

impl Crowd {
    pub(super) fn new(seats: Arc<Seats>) -> Crowd {
        Crowd { seats, told: None }
    }

    /// A seat, once there is one; none for a peer that has as many as it may.
    pub(super) async fn seat(&mut self, peer: &Peer, address: &BoundAddress) -> Option<HeldSeat> {
        self.seats.counts.accepted.fetch_add(1, Ordering::Relaxed);
        let mut waits = false;
        loop {
            match self.seats.take(peer) {
                Ok(held) => return Some(held),
                Err(NoSeat::Peer) => {
                    self.seats.counts.refused.fetch_add(1, Ordering::Relaxed);
                    self.tell(
                        address,
                        "a peer has as many connections as it may; more are closed at once \
                         (hint: max_connections_per_peer)",
                    );
                    return None;
                }
                Err(NoSeat::Listener) => {
                    if !waits {
                        self.seats.counts.full.fetch_add(1, Ordering::Relaxed);
                        self.tell(
                            address,
                            "the listener has as many requests under way as it has connections; \
                             more wait (hint: max_connections)",
                        );
                    }
                    waits = true;
                    self.seats.freed().await;
                }
            }
        }
    }

    fn tell(&mut self, address: &BoundAddress, what: &str) {
        if self.told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
            self.told = Some(Instant::now());
            tracing::warn!(%address, "{what}");
        }
    }
}
