//! What an entity is created with.

use std::time::Duration;

/// What the namespace can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// Queues only.
    Basic,
    /// Topics, messages of 256 KB.
    #[default]
    Standard,
    /// Larger messages.
    Premium,
}

/// Settings of a queue or a subscription.
#[derive(Clone, Debug)]
pub struct EntitySettings {
    /// How long a receiver holds a message without renewing.
    pub lock_duration: Duration,
    /// Deliveries after which a message is dead.
    pub max_delivery_count: u32,
    /// Whether messages are received by session.
    pub requires_session: bool,
    /// How long message ids are remembered; `None` for no duplicate detection. Queues only: subscriptions go by their topic.
    pub duplicate_window: Option<Duration>,
    /// Largest encoded message.
    pub message_bytes_max: u64,
    /// Most messages it keeps.
    pub depth_max: usize,
    /// Refuses everything.
    pub disabled: bool,
}

impl Default for EntitySettings {
    fn default() -> Self {
        EntitySettings {
            lock_duration: Duration::from_secs(60),
            max_delivery_count: 10,
            requires_session: false,
            duplicate_window: None,
            message_bytes_max: 256 * 1024,
            depth_max: 1_000_000,
            disabled: false,
        }
    }
}

/// Settings of a topic.
#[derive(Clone, Debug)]
pub struct TopicSettings {
    /// How long message ids are remembered; `None` for no duplicate detection.
    pub duplicate_window: Option<Duration>,
    /// Largest encoded message.
    pub message_bytes_max: u64,
    /// Most messages it keeps for later.
    pub depth_max: usize,
    /// Refuses everything.
    pub disabled: bool,
}

impl Default for TopicSettings {
    fn default() -> Self {
        TopicSettings {
            duplicate_window: None,
            message_bytes_max: 256 * 1024,
            depth_max: 1_000_000,
            disabled: false,
        }
    }
}
