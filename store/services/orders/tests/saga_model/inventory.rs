//! Inventory, as simple as its contract allows.

use orders::machine::*;

use crate::{Reservation, Rule, World, refused};

impl World {
    pub(crate) fn reserve(&mut self, order: usize, qty: i64) -> Answer {
        if self.closed_stock.contains(&order) {
            return refused("order-tombstoned");
        }
        let free = if self.has(Rule::ReserveAgainstFree) {
            self.on_hand - self.reserved
        } else {
            self.on_hand
        };
        match self.reservations.get(&order).map(|r| r.state) {
            Some("RELEASED") => return refused("order-tombstoned"),
            Some("HELD" | "CONFIRMED" | "SHIPPED") => return Answer::Done,
            _ if free < qty => return refused("out-of-stock"),
            _ => {}
        }
        self.reserved += qty;
        let expires = self.now + self.faults.hold.as_secs_f64();
        self.reservations.insert(order, Reservation { qty, state: "HELD", expires });
        self.after(self.faults.hold.as_secs_f64() + 0.01, move |world| world.expire(order));
        Answer::Done
    }

    pub(crate) fn expire(&mut self, order: usize) {
        let now = self.now;
        let reservation = self.reservations.get_mut(&order).unwrap();
        if reservation.state == "HELD" && reservation.expires <= now {
            reservation.state = "EXPIRED";
            self.reserved -= reservation.qty;
        }
    }

    pub(crate) fn confirm(&mut self, order: usize) -> Answer {
        let free = self.on_hand - self.reserved;
        let Some(reservation) = self.reservations.get_mut(&order) else {
            return refused("not-found");
        };
        match reservation.state {
            "HELD" => reservation.state = "CONFIRMED",
            "EXPIRED" if free >= reservation.qty => {
                self.reserved += reservation.qty;
                reservation.state = "CONFIRMED";
            }
            "EXPIRED" => return refused("out-of-stock"),
            "RELEASED" => return refused("order-tombstoned"),
            _ => {}
        }
        Answer::Done
    }

    pub(crate) fn free(&mut self, order: usize) -> Answer {
        let Some(reservation) = self.reservations.get_mut(&order) else {
            if self.has(Rule::Tombstones) {
                self.closed_stock.insert(order);
            }
            return Answer::Done;
        };
        match reservation.state {
            "HELD" | "CONFIRMED" => self.reserved -= reservation.qty,
            "SHIPPED" => return refused("too-late-to-cancel"),
            _ => {}
        }
        reservation.state = "RELEASED";
        Answer::Done
    }

    pub(crate) fn count_down(&mut self, order: usize) -> bool {
        let once = self.has(Rule::InboxDedupe);
        let Some(reservation) = self.reservations.get_mut(&order) else { return false };
        if reservation.state == "CONFIRMED" || (!once && reservation.state == "SHIPPED") {
            reservation.state = "SHIPPED";
            self.on_hand -= reservation.qty;
            self.reserved -= reservation.qty;
        }
        true
    }
}
