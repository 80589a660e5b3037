//! Who subscribes to what. A test holds this against the store's manifest.

/// A subscriber and a topic, or all topics below one: `payment.*`. (SQL's GLOB reads it alike.)
pub const SUBSCRIPTIONS: &[(&str, &str)] = &[
    ("cart", "order.received"),
    ("cart", "order.cancelled"),
    ("catalog", "stock.level_changed"),
    ("checkout", "price.changed"),
    ("inventory", "shipment.dispatched"),
    ("notifications", "customer.registered"),
    ("notifications", "customer.contact_changed"),
    ("notifications", "order.received"),
    ("notifications", "order.confirmed"),
    ("notifications", "order.payment_action_required"),
    ("notifications", "order.cancelled"),
    ("notifications", "order.dispatched"),
    ("notifications", "order.delivered"),
    ("notifications", "order.refunded"),
    ("orders", "payment.*"),
    ("orders", "fulfilment.*"),
    ("orders", "shipment.*"),
    ("orders", "reservation.expired"),
    ("orders", "reservation.shipped"),
    ("orders", "message.sent"),
    ("warehouse", "order.confirmed"),
];

/// Services that publish, and so have an outbox.
pub(crate) const PUBLISHERS: [&str; 8] = [
    "orders",
    "inventory",
    "payments",
    "warehouse",
    "notifications",
    "checkout",
    "catalog",
    "customers",
];
