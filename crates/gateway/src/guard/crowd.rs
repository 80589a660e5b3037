//! How many connections each address has open: one alone must not take all there are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::guard::client::household;

/// Bounded by the connections that are open.
#[derive(Default, Clone)]
pub(crate) struct Crowd {
    seats: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Held while a connection is open.
pub(crate) struct Seat {
    crowd: Crowd,
    who: IpAddr,
}

impl Crowd {
    /// `None`: this address has enough.
    pub(crate) fn seat(&self, addr: IpAddr, max: usize) -> Option<Seat> {
        let who = household(addr);
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seats.entry(who).or_insert(0);
        if *taken >= max {
            return None;
        }
        *taken += 1;
        drop(seats);
        Some(Seat { crowd: self.clone(), who })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.crowd.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = seats.get_mut(&self.who) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.who);
            }
        }
    }
}
