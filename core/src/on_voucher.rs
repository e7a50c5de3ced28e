//! Vouchers: made, shown, used, revoked, and over when their time is.

use campusgrid_protocol::id::{UserId, VoucherId};

use crate::effect::{Change, Effects, Refusal, Reply};
use crate::grid::Grid;
use crate::input::VoucherWish;
use crate::voucher::{LIVE_MAX, MAX_MS, Purpose, Shown, USES_MAX, Voucher};

impl Grid {
    pub(crate) fn on_make_voucher(&mut self, wish: VoucherWish, effects: &mut Effects) -> Reply {
        let VoucherWish { by, purpose, secret_hash, uses, until } = wish;
        match purpose {
            Purpose::Join { owner } if !self.may_act_for(by, owner) => {
                return Reply::Refused(Refusal::NotAnOperator);
            }
            Purpose::Invitation { by: other } if by != other || !self.is_operator(by) => {
                return Reply::Refused(Refusal::NotAnOperator);
            }
            Purpose::Join { .. } | Purpose::Invitation { .. } => {}
        }
        if !self.users.contains_key(&purpose.user()) {
            return Reply::Refused(Refusal::NotFound);
        }
        let live = self.vouchers.values().filter(|other| other.purpose.user() == purpose.user());
        if live.count() >= LIVE_MAX as usize {
            return Reply::Refused(Refusal::TooMany { max: LIVE_MAX });
        }
        let id = VoucherId(self.last_voucher.0 + 1);
        self.last_voucher = id;
        let voucher = Voucher {
            id,
            purpose,
            secret_hash,
            uses_left: uses.clamp(1, USES_MAX),
            made_at: self.now,
            until: until.min(self.now.plus_ms(MAX_MS)),
        };
        self.voucher_ends.renew(id, voucher.until);
        self.vouchers.insert(id, voucher.clone());
        effects.changes.push(Change::VoucherMade(voucher));
        Reply::VoucherMade { voucher: id }
    }

    pub(crate) fn on_revoke_voucher(
        &mut self,
        user: UserId,
        id: VoucherId,
        effects: &mut Effects,
    ) -> Reply {
        let mine = |voucher: &&Voucher| self.may_act_for(user, voucher.purpose.user());
        if self.vouchers.get(&id).filter(mine).is_none() {
            return Reply::Refused(Refusal::NotFound);
        }
        self.end_voucher(id, effects);
        self.repeats.forget_voucher(id);
        Reply::Done
    }

    /// The voucher that somebody shows, if it is good.
    pub(crate) fn voucher(&self, shown: &Shown) -> Option<&Voucher> {
        let voucher = self.vouchers.get(&shown.id)?;
        (voucher.secret_hash == shown.secret_hash && voucher.until > self.now).then_some(voucher)
    }

    /// Takes one use of a voucher that was found to be good.
    pub(crate) fn use_voucher(&mut self, id: VoucherId, effects: &mut Effects) {
        let voucher = self.vouchers.get_mut(&id).expect("it has just been found");
        voucher.uses_left -= 1;
        let uses_left = voucher.uses_left;
        if uses_left == 0 {
            self.end_voucher(id, effects);
        } else {
            effects.changes.push(Change::VoucherUsed { voucher: id, uses_left });
        }
    }

    /// Whoever is no operator any more invites nobody.
    pub(crate) fn end_invitations_of(&mut self, user: UserId, effects: &mut Effects) {
        let theirs = |voucher: &&Voucher| voucher.purpose == Purpose::Invitation { by: user };
        let ids: Vec<VoucherId> =
            self.vouchers.values().filter(theirs).map(|voucher| voucher.id).collect();
        for id in ids {
            self.end_voucher(id, effects);
        }
    }

    pub(crate) fn forget_vouchers(&mut self, effects: &mut Effects) {
        while let Some(id) = self.voucher_ends.pop_over(self.now) {
            self.end_voucher(id, effects);
        }
    }

    pub(crate) fn end_voucher(&mut self, id: VoucherId, effects: &mut Effects) {
        self.voucher_ends.close(&id);
        self.vouchers.remove(&id);
        effects.changes.push(Change::VoucherOver { voucher: id, at: self.now });
    }
}
