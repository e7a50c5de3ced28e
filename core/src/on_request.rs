//! The ways that requests go.

use crate::effect::{Effects, Reply};
use crate::grid::Grid;
use crate::input::{Request, Ticket};

impl Grid {
    /// The reply, unless it comes later.
    pub(crate) fn on_request(
        &mut self,
        ticket: Ticket,
        request: Request,
        effects: &mut Effects,
    ) -> Option<Reply> {
        Some(match request {
            Request::Register(registration) => self.on_register(registration, effects),
            Request::OpenLogin(login) => self.on_open_login(login, effects),
            Request::CloseLogin { token_hash } => Self::on_close_login(token_hash, effects),
            Request::RevokeLogin { user, login } => Self::on_revoke_login(user, login, effects),
            Request::RevokeLogins { user, but } => Self::on_revoke_logins(user, but, effects),
            Request::ChangePassword { user, password_hash, but } => {
                self.on_change_password(user, password_hash, but, effects)
            }
            Request::Rehash { user, from, to } => Self::on_rehash(user, from, to, effects),
            Request::OpenApiToken(token) => self.on_open_api_token(token, effects),
            Request::RevokeApiToken { user, token } => {
                Self::on_revoke_api_token(user, token, effects)
            }
            Request::Used { logins, tokens } => Self::on_used(logins, tokens, effects),
            Request::SetRole { by, user, role } => self.on_set_role(by, user, role, effects),
            Request::MakeVoucher(wish) => self.on_make_voucher(wish, effects),
            Request::RevokeVoucher { user, voucher } => {
                self.on_revoke_voucher(user, voucher, effects)
            }
            Request::Submit(submission) => self.on_submit(submission, effects),
            Request::Cancel { user, job } => self.on_cancel(user, job, effects),
            Request::Enrol(enrolment) => return self.on_enrol(ticket, enrolment, effects),
            Request::ApproveWorker { user, code } => self.on_approve(user, &code, effects),
            Request::RemoveWorker { user, worker } => self.on_remove_worker(user, worker, effects),
            Request::ReleaseWorker { user, worker } => {
                self.on_release_worker(user, worker, effects)
            }
        })
    }
}
