//! How requests and facts travel: lost, late, doubled, out of order.

use orders::machine::*;

use crate::{Rule, World};

impl World {
    /// Sends a request that `work` serves. `None`: the caller heard nothing in time.
    pub(crate) fn ask<T: 'static>(
        &mut self,
        work: impl Fn(&mut Self) -> Option<T> + Clone + 'static,
    ) -> Option<T> {
        let faults = self.faults.clone();
        let dice = self.chance();
        let lost = faults.lost_request;
        let reply_lost = lost + faults.lost_reply;
        if dice < lost {
            return None;
        }
        if dice < reply_lost {
            work(self);
            return None;
        }
        if dice < reply_lost + faults.late_request {
            let wait = self.between(5.0, 200.0);
            self.after(wait, move |world| drop(work(world)));
            return None;
        }
        if self.chance() < faults.doubled_request {
            let (wait, again) = (self.between(0.0, 80.0), work.clone());
            self.after(wait, move |world| drop(again(world)));
        }
        work(self)
    }

    /// Publishes a fact: it arrives at least once, at some time.
    pub(crate) fn publish(
        &mut self,
        to: &'static str,
        take: impl Fn(&mut Self) -> bool + Clone + 'static,
    ) {
        self.count += 1;
        let id = self.count;
        let copies = 1 + usize::from(self.chance() < self.faults.doubled_fact);
        for _ in 0..copies {
            let (wait, take) = (self.between(0.0, 40.0), take.clone());
            self.after(wait, move |world| world.deliver(to, id, take));
        }
    }

    /// The receiver's inbox: once, and again later if it was too early.
    pub(crate) fn deliver(
        &mut self,
        to: &'static str,
        id: u64,
        take: impl Fn(&mut Self) -> bool + Clone + 'static,
    ) {
        if self.has(Rule::InboxDedupe) && self.inbox.contains(&(to, id)) {
            return;
        }
        let lost = to == "orders" && self.chance() < self.faults.lost_fact;
        if lost || take(self) {
            self.inbox.insert((to, id));
        } else {
            self.after(10.0, move |world| world.deliver(to, id, take));
        }
    }

    pub(crate) fn tell_orders(&mut self, order: usize, fact: Input) {
        self.publish("orders", move |world| {
            let verdict = world.meet(order, None, &fact);
            if matches!(verdict, Verdict::Impossible(_)) {
                world.breaks("a fact contradicts what is certain");
            }
            !matches!(verdict, Verdict::NotYet(_))
        });
    }
}
