//! Auctions in words, and what must hold of all of them.

use std::num::NonZeroU32;

use campusgrid_protocol::id::{UserId, WorkerId};
use proptest::prelude::*;

use super::{SealedBid, close};
use crate::money::Micros;
use crate::time::Timestamp;

/// An owner's bid for their only machine, or for one of several.
fn bid(owner: u64, worker: u64, price: i64, score: u32) -> SealedBid {
    SealedBid {
        owner: UserId(owner),
        worker: WorkerId(worker),
        price: Micros(price),
        score_permille: NonZeroU32::new(score).unwrap(),
        at: Timestamp(worker),
    }
}

fn sold(bids: &[SealedBid], price_max: i64) -> Option<(u64, i64)> {
    close(bids, Micros(price_max)).map(|sold| (sold.worker.0, sold.price.0))
}

#[test]
fn the_second_price_is_paid_among_three_owners() {
    let bids = [bid(1, 1, 50, 1000), bid(2, 2, 70, 1000), bid(3, 3, 90, 1000)];
    assert_eq!(sold(&bids, 100), Some((1, 70)));
    assert_eq!(sold(&bids[..2], 100), Some((1, 50)));
    assert_eq!(sold(&bids[..1], 100), Some((1, 50)));
    assert_eq!(sold(&[], 100), None);
}

#[test]
fn nobody_wins_above_the_most_and_nobody_counts_there() {
    let bids = [bid(1, 1, 50, 1000), bid(2, 2, 70, 1000), bid(3, 3, 190, 1000)];
    assert_eq!(sold(&bids, 100), Some((1, 50)));
    assert_eq!(sold(&bids, 49), None);
    let unreliable = [bid(1, 1, 50, 500), bid(2, 2, 60, 1000), bid(3, 3, 98, 1000)];
    // 60 over 1000 beats 50 over 500, and 100 over 500 is no price that the second may make.
    assert_eq!(sold(&unreliable, 80), Some((2, 60)));
    assert_eq!(sold(&unreliable, 98), Some((2, 98)));
}

#[test]
fn reliability_counts_like_price() {
    let bids = [bid(1, 1, 50, 500), bid(2, 2, 70, 1000), bid(3, 3, 80, 800)];
    assert_eq!(sold(&bids, 200), Some((2, 100)));
}

#[test]
fn the_machines_of_one_owner_count_once() {
    let bids = [bid(1, 1, 50, 1000), bid(1, 2, 55, 1000), bid(2, 3, 70, 1000)];
    assert_eq!(sold(&bids, 100), Some((1, 50)));
}

#[test]
fn of_equal_bids_the_first_wins() {
    let bids = [bid(3, 3, 50, 1000), bid(2, 2, 50, 1000), bid(1, 1, 50, 1000)];
    assert_eq!(sold(&bids, 100), Some((1, 50)));
}

fn any_bid() -> impl Strategy<Value = SealedBid> {
    (1..6_u64, 0..200_i64, 1..=1000_u32, 0..50_u64).prop_map(|(owner, price, score, worker)| {
        // A machine is of one owner.
        bid(owner, worker * 6 + owner, price, score)
    })
}

proptest! {
    #[test]
    fn the_price_is_between_the_bid_and_the_most(bids in prop::collection::vec(any_bid(), 0..12), most in 0..200_i64) {
        let acceptable = bids.iter().any(|bid| bid.price.0 <= most);
        let sold = close(&bids, Micros(most));
        prop_assert_eq!(sold.is_some(), acceptable);
        if let Some(sold) = sold {
            let own = bids.iter().filter(|bid| bid.worker == sold.worker).map(|bid| bid.price).min();
            prop_assert!(sold.price >= own.unwrap() && sold.price.0 <= most);
        }
    }

    /// What a run costs its owner subtracted, no other bid than that brings more.
    #[test]
    fn with_enough_owners_a_lie_gains_nothing(prices in prop::collection::vec((0..200_i64, 1..=1000_u32), 3..8), lie in 0..250_i64, most in 0..200_i64) {
        let honest: Vec<SealedBid> = (1..).zip(&prices).map(|(owner, &(price, score))| bid(owner, owner, price, score)).collect();
        // Of others alone: whether the liar bids too must not decide who counts.
        let others = honest[1..].iter().filter(|bid| bid.price.0 <= most).count();
        prop_assume!(others >= 2);
        let gain = |bids: &[SealedBid]| match close(bids, Micros(most)) {
            Some(sold) if sold.worker == WorkerId(1) => sold.price.0 - honest[0].price.0,
            Some(_) | None => 0,
        };
        let mut lying = honest.clone();
        lying[0].price = Micros(lie);
        prop_assert!(gain(&lying) <= gain(&honest));
    }
}
