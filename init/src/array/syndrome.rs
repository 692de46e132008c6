//! What two missing members of a raid6 held, computed from the others: arithmetic in GF(2^8) as the kernel's RAID-6 uses
//! it (`lib/raid6`), with the polynomial 0x11d and the generator 2.
//!
//! P is the sum of all data and Q that of all data, each times the generator to the power of its place in the stripe. Two
//! equations: two unknowns.

/// x^8 is this.
const POLYNOMIAL: u8 = 0x1d;

/// A piece of a stripe that is there, with the power of the generator that it has in Q.
pub(super) struct Piece {
    pub power: u32,
    pub bytes: Vec<u8>,
}

/// The piece that is missing, from all others and P.
pub(super) fn one_by_p(others: &[Piece], p: Vec<u8>) -> Vec<u8> {
    sum_to(p, others, false)
}

/// The piece of this power, from all other pieces and Q; P is missing.
pub(super) fn one_by_q(power: u32, others: &[Piece], q: Vec<u8>) -> Vec<u8> {
    scaled(&sum_to(q, others, true), inverse(generator(power)))
}

/// The piece of this power, from all others but the one of `other`, and P and Q.
pub(super) fn one_of_two(
    power: u32,
    other: u32,
    pieces: &[Piece],
    p: Vec<u8>,
    q: Vec<u8>,
) -> Vec<u8> {
    // Both together, plain and with their factors.
    let plain = sum_to(p, pieces, false);
    let weighed = sum_to(q, pieces, true);
    let (mine, theirs) = (generator(power), generator(other));
    let mut bytes = scaled(&plain, theirs);
    add(&mut bytes, &weighed);
    // Powers of two pieces of one stripe differ, and below 255 so do their factors.
    scaled(&bytes, inverse(mine ^ theirs))
}

fn sum_to(mut sum: Vec<u8>, pieces: &[Piece], is_weighed: bool) -> Vec<u8> {
    for piece in pieces {
        if is_weighed {
            add(&mut sum, &scaled(&piece.bytes, generator(piece.power)));
        } else {
            add(&mut sum, &piece.bytes);
        }
    }
    sum
}

fn add(sum: &mut [u8], bytes: &[u8]) {
    for (sum, byte) in sum.iter_mut().zip(bytes) {
        *sum ^= byte;
    }
}

fn scaled(bytes: &[u8], factor: u8) -> Vec<u8> {
    let mut table = [0; 256];
    for (value, product) in (0..=255).zip(&mut table) {
        *product = times(value, factor);
    }
    bytes.iter().map(|byte| table[usize::from(*byte)]).collect()
}

fn times(mut one: u8, mut other: u8) -> u8 {
    let mut product = 0;
    while other != 0 {
        if other & 1 != 0 {
            product ^= one;
        }
        let carry = one & 0x80 != 0;
        one <<= 1;
        if carry {
            one ^= POLYNOMIAL;
        }
        other >>= 1;
    }
    product
}

fn power_of(base: u8, power: u32) -> u8 {
    (0..power).fold(1, |product, _| times(product, base))
}

fn generator(power: u32) -> u8 {
    power_of(2, power % 255)
}

/// Of anything but zero; there are 255 others.
fn inverse(value: u8) -> u8 {
    power_of(value, 254)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_but_zero_has_an_inverse_and_powers_differ() {
        for value in 1..=255 {
            assert_eq!(times(value, inverse(value)), 1, "{value}");
        }
        let powers: std::collections::BTreeSet<u8> = (0..255).map(generator).collect();
        assert_eq!(powers.len(), 255);
        assert_eq!((generator(8), generator(9)), (0x1d, 0x3a));
    }

    #[test]
    fn one_or_two_missing_pieces_are_what_they_were() {
        let piece = |power: u32| Piece {
            power,
            bytes: (0..64_u32)
                .map(|at| (at * 7 + power * 31 + 5) as u8)
                .collect(),
        };
        let all: Vec<Piece> = (0..5).map(piece).collect();
        let p = sum_to(vec![0; 64], &all, false);
        let q = sum_to(vec![0; 64], &all, true);
        for one in 0..5 {
            let rest: Vec<Piece> = (0..5).filter(|power| *power != one).map(piece).collect();
            assert_eq!(one_by_q(one, &rest, q.clone()), piece(one).bytes);
            for two in (0..5).filter(|two| *two != one) {
                let rest: Vec<Piece> = (0..5)
                    .filter(|power| *power != one && *power != two)
                    .map(piece)
                    .collect();
                let found = one_of_two(one, two, &rest, p.clone(), q.clone());
                assert_eq!(found, piece(one).bytes);
            }
        }
    }
}
