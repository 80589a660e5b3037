//! The saga of one order, as a machine without a world: values in, values out.
//!
//! An order goes forward by asking inventory, payments and warehouse for one step at a time and
//! by hearing facts from them. The turning point is the capture, made when the goods are packed
//! and before they leave: what goes wrong before it is undone (warehouse, then money, then
//! stock, so that goods provably stay before money goes back, and stock is freed last); what
//! goes wrong after it is pushed forward or refunded.
//!
//! [`step`] takes where an order stands and one [`Input`] and says where it stands afterwards,
//! which transitions that were (each of [`ALLOWED`]), and what is to be done about it. It asks
//! no clock, draws no random number, and is safe against anything coming twice, late, or in
//! another order: what does not fit yet is [`Verdict::NotYet`], what no longer matters changes
//! nothing.

mod step;
mod table;

pub use step::step;
pub use table::{ALLOWED, Policy};

use std::time::Duration;

use serde::{Deserialize, Serialize};
use store_kit::{Timestamp, text_enum};

text_enum! {
    /// Where an order stands: what its customer is told and what the saga does next in one.
    pub enum Status {
        Received = "RECEIVED",
        Reserved = "RESERVED",
        AwaitingAction = "AWAITING_ACTION",
        AwaitingMethod = "AWAITING_METHOD",
        Authorised = "AUTHORISED",
        Confirmed = "CONFIRMED",
        Packed = "PACKED",
        Captured = "CAPTURED",
        Released = "RELEASED",
        Dispatched = "DISPATCHED",
        Delivered = "DELIVERED",
        Completed = "COMPLETED",
        CompWh = "COMP_WH",
        CompPay = "COMP_PAY",
        CompInv = "COMP_INV",
        Cancelled = "CANCELLED",
        Refunded = "REFUNDED",
    }
}

text_enum! {
    /// What we know of the money.
    pub enum PaymentState {
        None = "NONE",
        Pending = "PENDING",
        RequiresAction = "REQUIRES_ACTION",
        Authorised = "AUTHORISED",
        Declined = "DECLINED",
        Captured = "CAPTURED",
        Voided = "VOIDED",
        Refunded = "REFUNDED",
    }
}

text_enum! {
    /// What we know of the parcel.
    pub enum FulfilmentState {
        None = "NONE",
        New = "NEW",
        Packed = "PACKED",
        Short = "SHORT",
        Cancelled = "CANCELLED",
        Dispatched = "DISPATCHED",
        Delivered = "DELIVERED",
    }
}

text_enum! {
    /// Why an order is undone.
    pub enum Reason {
        OutOfStock = "out_of_stock",
        SoldOut = "sold_out",
        InventoryUnavailable = "inventory_unavailable",
        PaymentsUnavailable = "payments_unavailable",
        PaymentDeclined = "payment_declined",
        PaymentTimeout = "payment_timeout",
        PaymentLost = "payment_lost",
        CaptureFailed = "capture_failed",
        ShortPick = "short_pick",
        WarehouseCancelled = "warehouse_cancelled",
        CancelledByCustomer = "cancelled_by_customer",
        StepRefused = "step_refused",
    }
}

/// Where one order stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saga {
    pub status: Status,
    /// Counts the transitions.
    pub version: u32,
    /// When there is something to do or to look at. `None`: never again.
    pub next_run_at: Option<Timestamp>,
    /// When this status has lasted too long.
    pub deadline: Option<Timestamp>,
    /// Tries of the current step that told us nothing, in a row.
    pub attempt: u32,
    /// Of the current step's key: the same through all tries, a new one when a refusal was about
    /// the moment.
    pub generation: u32,
    /// The current step was accepted over there and goes on there: look before asking again.
    pub looking: bool,
    pub cancel_requested: bool,
    /// Which card it is: 1, 2, 3.
    pub pay_attempt: u32,
    /// The hold was made longer while the customer looks for another card.
    pub hold_extended: bool,
    pub capture_id: Option<String>,
    /// Where the customer authenticates.
    pub action_url: Option<String>,
    pub tracking: Option<String>,
    /// Why it is being undone.
    pub reason: Option<Reason>,
    pub payment: PaymentState,
    pub fulfilment: FulfilmentState,
}

impl Saga {
    /// An order that was just received.
    pub fn received(now: Timestamp, policy: &Policy) -> Self {
        Self {
            status: Status::Received,
            version: 1,
            next_run_at: Some(now),
            deadline: policy.deadline(Status::Received, now),
            attempt: 0,
            generation: 1,
            looking: false,
            cancel_requested: false,
            pay_attempt: 1,
            hold_extended: false,
            capture_id: None,
            action_url: None,
            tracking: None,
            reason: None,
            payment: PaymentState::None,
            fulfilment: FulfilmentState::None,
        }
    }

    /// Goes on where it stands, after nobody led it for a while.
    pub fn take_up(&mut self, now: Timestamp, policy: &Policy) {
        self.next_run_at = match self.status {
            Status::Delivered => policy.first_run(self.status, now),
            status => (!status.is_final()).then_some(now),
        };
        self.deadline = policy.deadline(self.status, now);
    }

    /// Whether the customer can still call it off. From PACKED on the capture may be under way.
    pub fn is_cancellable(&self) -> bool {
        !self.cancel_requested && self.status.honours_cancel()
    }

    /// Whether it is called off or undone: a wish to cancel has what it wants.
    pub fn is_called_off(&self) -> bool {
        self.cancel_requested && self.status.honours_cancel()
            || self.status.is_undoing()
            || matches!(self.status, Status::Cancelled | Status::Refunded)
    }
}

/// Something to ask of another service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Reserve,
    ExtendHold,
    Confirm,
    FreeStock,
    Authorise { attempt: u32 },
    LookAtPayment,
    Capture,
    Void,
    Refund,
    LookAtFulfilment,
    Release { generation: u32 },
    CancelFulfilment { generation: u32 },
}

text_enum! {
    /// A service that the saga asks.
    pub enum Party {
        Inventory = "inventory",
        Payments = "payments",
        Warehouse = "warehouse",
    }
}

impl Action {
    pub fn party(self) -> Party {
        match self {
            Self::Reserve | Self::ExtendHold | Self::Confirm | Self::FreeStock => Party::Inventory,
            Self::Authorise { .. }
            | Self::LookAtPayment
            | Self::Capture
            | Self::Void
            | Self::Refund => Party::Payments,
            Self::LookAtFulfilment | Self::Release { .. } | Self::CancelFulfilment { .. } => {
                Party::Warehouse
            }
        }
    }

    /// What any of them is called in a history.
    pub const NAMES: &[&str] = &[
        "reserve",
        "extend-hold",
        "confirm",
        "release-stock",
        "authorise",
        "look-at-payment",
        "capture",
        "void",
        "refund",
        "look-at-fulfilment",
        "release",
        "cancel-fulfilment",
    ];

    /// What it is called in a history.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::ExtendHold => "extend-hold",
            Self::Confirm => "confirm",
            Self::FreeStock => "release-stock",
            Self::Authorise { .. } => "authorise",
            Self::LookAtPayment => "look-at-payment",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
            Self::LookAtFulfilment => "look-at-fulfilment",
            Self::Release { .. } => "release",
            Self::CancelFulfilment { .. } => "cancel-fulfilment",
        }
    }

    /// The `Idempotency-Key`: made of the order and the step, so that a repetition, even after a
    /// restart, is the same request. `None` where the method alone makes it safe to repeat.
    pub fn key(self, order: &str) -> Option<String> {
        let (step, number) = match self {
            Self::Reserve => ("reserve", 1),
            Self::Confirm => ("confirm", 1),
            Self::FreeStock => ("free", 1),
            Self::Authorise { attempt } => ("auth", attempt),
            Self::Capture => ("capture", 1),
            Self::Void => ("void", 1),
            Self::Refund => ("refund", 1),
            Self::Release { generation } => ("release", generation),
            Self::CancelFulfilment { generation } => ("cancel", generation),
            Self::ExtendHold | Self::LookAtPayment | Self::LookAtFulfilment => return None,
        };
        Some(format!("{order}:{step}:{number}"))
    }
}

/// What an action came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done; there is nothing more to know.
    Done,
    Payment(Payment),
    Fulfilment(Fulfilment),
    /// Decided against, with the problem's code.
    Refused(String),
    /// It may or may not have happened. The callee may have said when to come back.
    Silent(Option<Duration>),
}

/// A payment as payments tells it, in a reply or in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// 0 when there is none: the answer to the void of an order that payments never saw.
    #[serde(default)]
    pub attempt: u32,
    pub state: MoneyState,
    #[serde(default)]
    pub capture_id: Option<String>,
    #[serde(default)]
    pub action_url: Option<String>,
}

text_enum! {
    /// The states of a payment in payments.
    pub enum MoneyState {
        Created = "CREATED",
        RequiresAction = "REQUIRES_ACTION",
        Processing = "PROCESSING",
        Authorised = "AUTHORISED",
        Captured = "CAPTURED",
        PartiallyRefunded = "PARTIALLY_REFUNDED",
        Refunded = "REFUNDED",
        Declined = "DECLINED",
        Voided = "VOIDED",
        Expired = "EXPIRED",
    }
}

/// A fulfilment as warehouse tells it, in a reply or in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fulfilment {
    pub state: ParcelState,
    #[serde(default)]
    pub tracking: Option<String>,
}

text_enum! {
    /// The states of a fulfilment in warehouse.
    pub enum ParcelState {
        New = "NEW",
        Picking = "PICKING",
        Packed = "PACKED",
        Short = "SHORT",
        Cancelled = "CANCELLED",
        Dispatched = "DISPATCHED",
        Delivered = "DELIVERED",
    }
}

/// Something that happens to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// `next_run_at` has come.
    Due,
    /// What the action came to that was asked for in this status and version.
    Reply(Action, Answer),
    /// A fact from payments.
    PaymentFact(Payment),
    /// A fact from payments: what we asked to capture cannot be captured.
    CaptureFailed,
    /// A fact from warehouse.
    FulfilmentFact(Fulfilment),
    /// The customer calls it off.
    Cancel,
    /// The customer gives another card.
    NewMethod,
    /// An operator says: now.
    RetryNow,
}

/// One transition that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub from: Status,
    pub to: Status,
    pub why: String,
}

/// What the world is told, in the transaction that records the transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Confirmed,
    AuthenticationNeeded,
    NewCardNeeded,
    Dispatched,
    Delivered,
    Completed,
    Refunded,
    Cancelled,
}

/// What becomes of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It had its effect, or needed none.
    Taken,
    /// A fact came before the one it builds on.
    NotYet(&'static str),
    /// What the customer or operator asks for is not possible in this status.
    TooLate,
    /// A fact that contradicts what we know for certain.
    Impossible(&'static str),
}

/// Where an order stands after an input, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub saga: Saga,
    pub moves: Vec<Move>,
    pub effects: Vec<Effect>,
    /// What to ask of whom, now. Its answer comes back as [`Input::Reply`].
    pub call: Option<Action>,
    pub verdict: Verdict,
}

/// What a decision may depend on besides the order.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'p> {
    pub now: Timestamp,
    /// In 0..1, to spread retries.
    pub random: f64,
    pub policy: &'p Policy,
}
