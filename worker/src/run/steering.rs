//! What a run's sandbox is told, out of what the daemon says to this run and to all of them.

use std::time::Duration;

use campusgrid_sandbox::control::Control;
use tokio::sync::watch;

use super::words::RunWords;
use crate::agent::effect::StopOrder;

impl RunWords {
    /// Says what is to be done whenever that changes; never returns.
    pub(super) async fn steer(mut self, say: watch::Sender<Control>) {
        loop {
            let control = self.control();
            if control != Control::StandStill {
                self.still.send_replace(false);
            }
            say.send_if_modified(|said| std::mem::replace(said, control) != control);
            let goes_on = tokio::select! {
                biased;
                changed = self.stop.changed() => changed.is_ok(),
                changed = self.frozen.changed() => changed.is_ok(),
            };
            if !goes_on {
                // Without a daemon nobody waits for what comes of it.
                say.send_replace(Control::Stop);
                std::future::pending::<()>().await;
            }
        }
    }

    fn control(&self) -> Control {
        match (&*self.stop.borrow(), *self.frozen.borrow()) {
            (Some(StopOrder::HandBack { grace_s }), _) => {
                Control::HandBack { grace: Duration::from_secs(u64::from(*grace_s)) }
            }
            (Some(StopOrder::Report(_) | StopOrder::Forget), _) => Control::Stop,
            (None, true) => Control::StandStill,
            (None, false) => Control::GoOn,
        }
    }
}
