//! The webhook that users have their notices signed for.

use serde::{Deserialize, Serialize};

/// Answers `POST webhook-secret`: shown once. What is posted is signed as Standard Webhooks say
/// (standardwebhooks.com): `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,…`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WebhookSecret {
    /// `whsec_` and base64.
    pub secret: String,
}

/// The body of a notice.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Notice {
    /// `job.started`, `job.failed` (its first task for good) or `job.ended`.
    pub r#type: String,
    /// When it happened; RFC 3339.
    pub timestamp: String,
    pub data: NoticeData,
}

/// How the job stood when the notice was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NoticeData {
    pub job: u64,
    pub name: String,
    pub tasks: u32,
    pub succeeded: u32,
    pub failed: u32,
    pub cancelled: u32,
    /// Its page, where the manager knows its own address.
    pub url: Option<String>,
}
