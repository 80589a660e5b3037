//! The machine's data: which transition exists, how long a status may last, how long to wait.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use store_kit::{Backoff, Timestamp};

use super::Status::*;
use super::{Party, Status};

/// Every transition that exists, besides the first (from nothing to RECEIVED). The audit holds
/// the log of every order against it.
pub const ALLOWED: &[(Status, Status)] = &[
    (Received, Reserved),
    (Received, CompWh),
    (Received, CompInv),
    (Reserved, Authorised),
    (Reserved, AwaitingAction),
    (Reserved, AwaitingMethod),
    (Reserved, CompWh),
    (AwaitingAction, Authorised),
    (AwaitingAction, AwaitingMethod),
    (AwaitingAction, CompWh),
    (AwaitingMethod, Reserved),
    (AwaitingMethod, CompWh),
    (Authorised, Confirmed),
    (Authorised, CompWh),
    (Confirmed, Packed),
    (Confirmed, CompWh),
    (Packed, Captured),
    (Packed, CompWh),
    (Captured, Released),
    (Captured, CompWh),
    (Released, Dispatched),
    (Dispatched, Delivered),
    (Delivered, Completed),
    (CompWh, CompPay),
    // The warehouse refuses: the goods are leaving or have left. Only possible once they were
    // paid for.
    (CompWh, Captured),
    (CompWh, Dispatched),
    (CompPay, CompInv),
    (CompInv, Cancelled),
    (CompInv, Refunded),
];

impl Status {
    /// Nothing happens to it any more.
    pub fn is_final(self) -> bool {
        matches!(self, Completed | Cancelled | Refunded)
    }

    pub fn is_open(self) -> bool {
        !self.is_final()
    }

    /// It waits for a person, as long as its deadline lets it.
    pub fn awaits_customer(self) -> bool {
        matches!(self, AwaitingAction | AwaitingMethod)
    }

    /// Whom it asks for its next step; `None` where it waits for a fact, a person or nothing.
    pub fn asks(self) -> Option<Party> {
        match self {
            Received | Authorised | AwaitingMethod | CompInv => Some(Party::Inventory),
            Reserved | AwaitingAction | Packed | CompPay => Some(Party::Payments),
            Captured | CompWh => Some(Party::Warehouse),
            Confirmed | Released | Dispatched | Delivered | Completed | Cancelled | Refunded => {
                None
            }
        }
    }

    pub(super) fn honours_cancel(self) -> bool {
        matches!(
            self,
            Received | Reserved | AwaitingAction | AwaitingMethod | Authorised | Confirmed
        )
    }

    pub(super) fn is_undoing(self) -> bool {
        matches!(self, CompWh | CompPay | CompInv)
    }
}

/// The times of the saga.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub reserve_max: Duration,
    pub authorise_max: Duration,
    pub confirm_max: Duration,
    pub customer_max: Duration,
    /// How long the goods are held at first, and again when another card is needed.
    pub hold: Duration,
    /// How many cards a customer may try.
    pub cards_max: u32,
    /// Tries that follow at once, while somebody looks at the page.
    pub quick_tries: u32,
    pub quick_timeout: Duration,
    pub slow_timeout: Duration,
    pub backoff: Backoff,
    /// Facts come as events; after this long without one we ask.
    pub look_after: Duration,
    /// Between looks at a payment that is in progress.
    pub look_at_payment: Duration,
    /// Between DELIVERED and COMPLETED.
    pub return_window: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            reserve_max: 5 * MINUTE,
            authorise_max: 10 * MINUTE,
            confirm_max: 5 * MINUTE,
            customer_max: 15 * MINUTE,
            hold: 20 * MINUTE,
            cards_max: 3,
            quick_tries: 3,
            quick_timeout: Duration::from_millis(800),
            slow_timeout: Duration::from_secs(2),
            backoff: Backoff { first: Duration::from_millis(500), max: Duration::from_secs(30) },
            look_after: Duration::from_secs(30),
            look_at_payment: Duration::from_secs(10),
            return_window: Duration::ZERO,
        }
    }
}

impl Policy {
    /// When an order that enters `status` now has been in it too long.
    pub fn deadline(&self, status: Status, now: Timestamp) -> Option<Timestamp> {
        let max = match status {
            Received => self.reserve_max,
            Reserved => self.authorise_max,
            Authorised => self.confirm_max,
            AwaitingAction | AwaitingMethod => self.customer_max,
            // Nothing that may already have had its effect is ever given up.
            _ => return None,
        };
        Some(now + max)
    }

    /// When an order that enters `status` now is due for the first time.
    pub(super) fn first_run(&self, status: Status, now: Timestamp) -> Option<Timestamp> {
        match status {
            Completed | Cancelled | Refunded => None,
            Confirmed | Released | Dispatched => Some(now + self.look_after),
            AwaitingAction => Some(now + self.look_at_payment),
            Delivered => Some(now + self.return_window),
            _ => Some(now),
        }
    }

    /// How long to wait after `tries` tries that told us nothing.
    pub(super) fn wait(&self, tries: u32, asked: Option<Duration>, random: f64) -> Duration {
        if tries < self.quick_tries {
            return Duration::ZERO;
        }
        let own = self.backoff.wait(tries - self.quick_tries + 1, random);
        own.max(asked.unwrap_or_default()).min(self.backoff.max)
    }

    /// How long the next try may take.
    pub fn timeout(&self, tries: u32) -> Duration {
        if tries < self.quick_tries { self.quick_timeout } else { self.slow_timeout }
    }
}
