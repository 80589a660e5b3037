//! What must hold, always and at rest.

use std::collections::HashMap;

use orders::machine::*;

use crate::World;

impl World {
    pub(crate) fn check_always(&mut self) {
        if self.reserved < 0 || self.reserved > self.on_hand {
            self.breaks("0 <= reserved <= on_hand");
        }
        if self.cards + self.held + self.merchant != 1_000_000 {
            self.breaks("the world's money is constant");
        }
        let captured =
            |order| self.latest(order).is_some_and(|(_, pay)| pay.state == MoneyState::Captured);
        let gone = |state| matches!(state, ParcelState::Dispatched | ParcelState::Delivered);
        let unpaid = self
            .fulfilments
            .iter()
            .filter(|(_, f)| gone(f.state))
            .any(|(order, f)| !f.paid || !captured(*order));
        if unpaid {
            self.breaks("nothing leaves unpaid");
        }
    }

    pub(crate) fn check_at_rest(&mut self) {
        self.check_always();
        let mut broken = Vec::new();
        let mut open: HashMap<usize, u32> = HashMap::new();
        for (key, (_, state)) in &self.provider {
            let order: usize = key[1..].split(':').next().unwrap().parse().unwrap();
            let status = self.orders[&order].saga.status;
            match state {
                MoneyState::Authorised => broken.push("no hold stays open"),
                MoneyState::Captured if status != Status::Completed => {
                    broken.push("captured only for completed orders")
                }
                _ => {}
            }
            if matches!(state, MoneyState::Authorised | MoneyState::Captured) {
                *open.entry(order).or_default() += 1;
            }
        }
        if open.values().any(|n| *n > 1) {
            broken.push("nobody pays twice");
        }
        let (mut delivered, mut promised) = (0, 0);
        for (order, row) in &self.orders {
            let stock = self.reservations.get(order).map_or("", |reservation| reservation.state);
            let parcel = self.fulfilments.get(order).map(|fulfilment| fulfilment.state);
            match row.saga.status {
                Status::Completed
                    if parcel != Some(ParcelState::Delivered) || stock != "SHIPPED" =>
                {
                    broken.push("completed means delivered and counted down");
                }
                Status::Completed => delivered += row.qty,
                Status::Cancelled | Status::Refunded if matches!(stock, "HELD" | "CONFIRMED") => {
                    broken.push("a cancelled order holds no stock");
                }
                Status::Cancelled | Status::Refunded => {}
                _ => broken.push("every order ends"),
            }
            if matches!(stock, "HELD" | "CONFIRMED") {
                promised += row.qty;
            }
        }
        if self.on_hand != self.faults.stock - delivered {
            broken.push("the shelf is what was not delivered");
        }
        if self.reserved != promised {
            broken.push("reserved is what is promised");
        }
        broken.into_iter().for_each(|invariant| self.breaks(invariant));
    }
}
