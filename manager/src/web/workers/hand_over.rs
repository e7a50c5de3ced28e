//! What runs on a machine that is to be taken out is handed back first, so that it loses little.

use std::time::Duration;

use campusgrid_core::snapshot::WorkerView;
use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::rules::{ByHand, Conditions, Rules, Wish};

use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;

/// What is waited for a machine to hand back what it runs, beside the time that its rules give tasks:
/// for what they have saved to come over.
const HAND_OVER: Duration = Duration::from_secs(10);

/// Whoever takes a machine out waits no longer than this.
const HAND_OVER_MAX: Duration = Duration::from_secs(50);

/// What keeps a machine from being shared whatever else is said: a wish to share, here or on the machine,
/// counts before the end of its offer, and a pause before such a wish.
pub(in crate::web) const PAUSED: ByHand = ByHand { wish: Wish::Pause, until_ms: None };

/// Has a machine hand back what it runs, and waits for that, but not for long.
///
/// # Errors
///
/// `Ask`.
pub(super) async fn hand_over(
    site: &Site,
    login: &Login,
    worker: WorkerId,
) -> Result<(), WebError> {
    let snapshot = site.engine.snapshot();
    let view = snapshot.workers.iter().find(|view| view.id == worker);
    let Some(view) = view.filter(|view| can_hand_over(view)) else { return Ok(()) };
    let until_ms = Some(site.clock.now().0);
    let when = Conditions { until_ms, ..view.rules.when.clone() };
    let within = Duration::from_secs(when.checkpoint_s.into()) + HAND_OVER;
    let within = within.min(HAND_OVER_MAX);
    let rules = Rules { when, by_hand: Some(PAUSED), ..Rules::clone(&view.rules) };
    let mut snapshots = site.engine.snapshots();
    site.engine.set_rules(login.id(), worker, rules).await?;
    let is_over = |view: &WorkerView| view.id != worker || !can_hand_over(view);
    let handed_over = snapshots.wait_for(|snapshot| snapshot.workers.iter().all(is_over));
    tokio::select! {
        () = site.shutdown.cancelled() => {}
        // Late or never, the machine goes all the same, and its tasks begin anew.
        over = tokio::time::timeout(within, handed_over) => drop(over),
    }
    Ok(())
}

/// Whether a machine runs something and can be told to hand it back, which those of an older version
/// cannot.
fn can_hand_over(view: &WorkerView) -> bool {
    let link = view.link.as_ref();
    view.running > 0 && link.is_some_and(|link| link.shares.is_some() && !link.silent)
}
