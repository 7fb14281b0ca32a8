//! What a power cut may leave of one moment.

use std::collections::BTreeSet;

use crate::checks::dice::Dice;
use crate::checks::power_cut::image::{Image, PAGE_BYTES, SECTOR_BYTES, Unsynced};

/// All ways are tried to keep or lose so many things, and of more things some.
const ALL_WAYS: usize = 4;

/// So many ways of each kind the dice choose.
const DRAWN: usize = 3;

/// Which of the things that are not durable are kept.
type Fates = Vec<bool>;

/// The images that a cut may leave: everything is lost, or kept; files are torn at sectors and at pages;
/// each name and each length is lost, or kept, alone; and more as the dice will.
pub(super) fn images(moment: &Image, dice: &mut Dice) -> impl Iterator<Item = Image> {
    fates(&moment.unsynced(), dice).into_iter().map(|fates| {
        let mut image = moment.clone();
        let mut fates = fates.into_iter();
        image.cut_by(|_| fates.next().expect("the same is asked in the same order"));
        image
    })
}

fn fates(unsynced: &[Unsynced], dice: &mut Dice) -> BTreeSet<Fates> {
    let of =
        |is_kept: &dyn Fn(&Unsynced) -> bool| -> Fates { unsynced.iter().map(is_kept).collect() };
    let is_name = |what: &Unsynced| matches!(what, Unsynced::Name(..));
    let count = unsynced.len();
    if count <= ALL_WAYS {
        return (0..1_u32 << count)
            .map(|kept| (0..count).map(|bit| kept >> bit & 1 == 1).collect())
            .collect();
    }
    let mut all =
        BTreeSet::from([of(&|_| false), of(&|_| true), of(&is_name), of(&|what| !is_name(what))]);
    let torn = |file, end: u64| {
        of(&|what| match what {
            Unsynced::Sector { file: other, at } => *other != file || *at < end,
            Unsynced::Name(..) | Unsynced::Length(_) => true,
        })
    };
    let mut tears: Vec<Fates> = Vec::new();
    for what in unsynced {
        match what {
            Unsynced::Sector { file, at } => {
                tears.push(torn(*file, *at));
                tears.push(torn(
                    *file,
                    (at + SECTOR_BYTES as u64).next_multiple_of(PAGE_BYTES as u64),
                ));
            }
            Unsynced::Name(..) | Unsynced::Length(_) => {
                all.insert(of(&|other| other == what));
                all.insert(of(&|other| other != what));
            }
        }
    }
    dice.shuffle(&mut tears);
    all.extend(tears.into_iter().take(2 * DRAWN));
    for _ in 0..DRAWN {
        let kept_of_four = 1 + dice.roll(3);
        let drawn: Fates = (0..count).map(|_| dice.roll(4) < kept_of_four).collect();
        let of_drawn = |always: &dyn Fn(&Unsynced) -> bool| -> Fates {
            drawn.iter().zip(unsynced).map(|(kept, what)| *kept || always(what)).collect()
        };
        all.insert(of_drawn(&is_name));
        all.insert(of_drawn(&|what| !is_name(what)));
        all.insert(drawn);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(unsynced: &[Unsynced]) -> BTreeSet<Fates> {
        fates(unsynced, &mut Dice::new(7, 0))
    }

    #[test]
    fn of_a_few_things_every_set_is_kept() {
        assert_eq!(tried(&[]), BTreeSet::from([vec![]]));
        let names: Vec<Unsynced> =
            (0..3).map(|name| Unsynced::Name(1, name.to_string().into())).collect();
        assert_eq!(tried(&names).len(), 8);
    }

    #[test]
    fn of_many_things_the_telling_sets_are_kept() {
        let mut unsynced = vec![Unsynced::Name(1, "a".into()), Unsynced::Name(1, "b".into())];
        unsynced.extend((0..16).map(|sector| Unsynced::Sector { file: 9, at: 512 * sector }));
        unsynced.push(Unsynced::Length(9));
        let tried = tried(&unsynced);
        let alone =
            |at: usize, kept: bool| -> Fates { (0..19).map(|i| (i == at) == kept).collect() };
        for at in [0, 1, 18] {
            assert!(tried.contains(&alone(at, true)) && tried.contains(&alone(at, false)));
        }
        assert!(tried.contains(&vec![false; 19]) && tried.contains(&vec![true; 19]));
        let is_torn = |fates: &&Fates| {
            let sectors = &fates[2..18];
            fates[0]
                && fates[1]
                && fates[18]
                && sectors.is_sorted_by(|a, b| a >= b)
                && sectors[0]
                && !sectors[15]
        };
        assert!(tried.iter().filter(is_torn).count() > 2);
        assert!((15..60).contains(&tried.len()), "{}", tried.len());
    }
}
