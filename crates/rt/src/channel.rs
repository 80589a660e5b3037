//! Bounded channels with a name, so that a full one can be told from its neighbours.

use tokio::sync::mpsc;
pub use tokio::sync::mpsc::Receiver;

/// The sending half; cheap to clone.
pub struct Sender<T> {
    name: &'static str,
    inner: mpsc::Sender<T>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { name: self.name, inner: self.inner.clone() }
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sender({}, {} free)", self.name, self.inner.capacity())
    }
}

/// A queue of at most `capacity` items; `name` is `crate.purpose`.
pub fn channel<T>(name: &'static str, capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (inner, receiver) = mpsc::channel(capacity);
    (Sender { name, inner }, receiver)
}

impl<T> Sender<T> {
    /// Waits for room. `Err` gives the item back: the receiver is gone.
    ///
    /// # Errors
    /// The item, when nobody will ever receive it.
    pub async fn send(&self, item: T) -> Result<(), T> {
        self.inner.send(item).await.map_err(|error| error.0)
    }

    /// For threads outside the runtime.
    ///
    /// # Errors
    /// The item, when nobody will ever receive it.
    pub fn blocking_send(&self, item: T) -> Result<(), T> {
        self.inner.blocking_send(item).map_err(|error| error.0)
    }

    /// Does not wait: for items that may be dropped and counted by the caller.
    ///
    /// # Errors
    /// The item, when the queue is full or nobody will ever receive it.
    pub fn try_send(&self, item: T) -> Result<(), T> {
        self.inner.try_send(item).map_err(|error| match error {
            mpsc::error::TrySendError::Full(item) | mpsc::error::TrySendError::Closed(item) => item,
        })
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Items waiting.
    pub fn depth(&self) -> usize {
        self.inner.max_capacity() - self.inner.capacity()
    }

    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }
}
