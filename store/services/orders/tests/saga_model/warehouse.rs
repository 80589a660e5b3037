//! The warehouse, as simple as its contract allows.

use orders::machine::*;

use crate::{Fulfil, Rule, World, parcel, refused};

impl World {
    pub(crate) fn begin_fulfilment(&mut self, order: usize) -> bool {
        if self.fulfilments.contains_key(&order) {
            return true;
        }
        self.fulfilments.insert(order, Fulfil { state: ParcelState::Picking, paid: false });
        let wait = self.between(1.0, 30.0);
        self.after(wait, move |world| world.pack(order));
        true
    }

    pub(crate) fn pack(&mut self, order: usize) {
        let short = self.chance() < self.faults.short;
        let fulfilment = self.fulfilments.get_mut(&order).unwrap();
        if fulfilment.state != ParcelState::Picking {
            return;
        }
        fulfilment.state = if short { ParcelState::Short } else { ParcelState::Packed };
        let state = fulfilment.state;
        self.tell_orders(order, Input::FulfilmentFact(parcel(state)));
        if self.chance() < self.faults.stopped {
            let wait = self.between(0.0, 40.0);
            self.after(wait, move |world| world.stop_parcel(order));
        }
        if !self.has(Rule::ReleaseGate) && state == ParcelState::Packed {
            self.dispatch(order);
        }
    }

    pub(crate) fn stop_parcel(&mut self, order: usize) {
        let fulfilment = self.fulfilments.get_mut(&order).unwrap();
        if matches!(fulfilment.state, ParcelState::Packed | ParcelState::Short) {
            fulfilment.state = ParcelState::Cancelled;
            self.tell_orders(order, Input::FulfilmentFact(parcel(ParcelState::Cancelled)));
        }
    }

    pub(crate) fn release(&mut self, order: usize, capture: Option<&str>) -> Answer {
        let Some(fulfilment) = self.fulfilments.get_mut(&order) else {
            return refused("not-packed");
        };
        match fulfilment.state {
            ParcelState::Packed => {
                fulfilment.paid = capture.is_some();
                self.dispatch(order);
            }
            ParcelState::Dispatched | ParcelState::Delivered => {}
            _ => return refused("too-late"),
        }
        Answer::Fulfilment(parcel(self.fulfilments[&order].state))
    }

    pub(crate) fn dispatch(&mut self, order: usize) {
        self.fulfilments.get_mut(&order).unwrap().state = ParcelState::Dispatched;
        self.publish("inventory", move |world| world.count_down(order));
        self.tell_orders(order, Input::FulfilmentFact(parcel(ParcelState::Dispatched)));
        let wait = self.between(5.0, 60.0);
        self.after(wait, move |world| {
            world.fulfilments.get_mut(&order).unwrap().state = ParcelState::Delivered;
            world.tell_orders(order, Input::FulfilmentFact(parcel(ParcelState::Delivered)));
        });
    }

    pub(crate) fn cancel_fulfilment(&mut self, order: usize) -> Answer {
        let new = Fulfil { state: ParcelState::Cancelled, paid: false };
        let fulfilment = self.fulfilments.entry(order).or_insert(new);
        if matches!(fulfilment.state, ParcelState::Dispatched | ParcelState::Delivered) {
            return refused("too-late-to-cancel");
        }
        fulfilment.state = ParcelState::Cancelled;
        Answer::Fulfilment(parcel(ParcelState::Cancelled))
    }
}
