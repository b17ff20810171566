//! Native tests against the vectors in `tests/vectors`, whose points come from py_ecc. The group syscalls are
//! [`super::host`]'s here; the same rules run against the real ones in the program's own tests.

use super::expand::{self, FieldElement};
use super::fp::{self, Fp};
use super::g2::{self, G2Point};
use super::map::{self, Hints};
use super::g2::tests_support::is_in_subgroup;
use super::{fp2, hash_to_g2, hash_with_tag, HintError, DST, HINT_BYTES};

const SUITE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/hash_to_g2.json"));
const RFC: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/hash_to_g2_rfc9380.json"));

/// Every string that stands under `key`, in order; enough of JSON for files of our own making.
fn strings<'a>(json: &'a str, key: &str) -> Vec<&'a str> {
    let quoted = format!("\"{key}\": \"");
    json.split(quoted.as_str()).skip(1).map(|rest| &rest[..rest.find('"').unwrap()]).collect()
}

/// The strings of every array under `key`, flattened; "hints" stand after it.
fn arrays<'a>(json: &'a str, key: &str) -> Vec<Vec<&'a str>> {
    let quoted = format!("\"{key}\": [");
    json.split(quoted.as_str())
        .skip(1)
        .map(|rest| {
            let end = rest.find("\"hints\"").unwrap();
            rest[..end].split('"').skip(1).step_by(2).collect()
        })
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn sized<const N: usize>(text: &str) -> [u8; N] {
    unhex(text).try_into().unwrap()
}

fn read(bytes: &[u8; HINT_BYTES]) -> Hints {
    let mut hints = Hints::EMPTY;
    Hints::read(bytes, &mut hints).unwrap();
    hints
}

fn plain(text: &str) -> Fp {
    let mut out = fp::ZERO;
    fp::from_words(&words(text), &mut out);
    out
}

fn words(text: &str) -> fp::Words {
    let bytes: [u8; 48] = sized(text);
    core::array::from_fn(|index| u64::from_be_bytes(bytes[40 - 8 * index..48 - 8 * index].try_into().unwrap()))
}

fn entered(a: &Fp) -> Fp {
    let mut out = fp::ZERO;
    fp::multiply(&mut out, a, &fp::R2);
    out
}

fn canonical(a: &Fp) -> fp::Words {
    let mut out = [0; 6];
    fp::to_words(a, &mut out);
    out
}

fn is_reduced(a: &Fp) -> bool {
    let top = 6 * fp::P.0[12] / 10;
    a.0[..12].iter().all(|limb| (-(1 << 29)..1 << 29).contains(limb)) && (-top..=top).contains(&a.0[12])
}

/// Vectors as (message, hints, point).
fn vectors(json: &str) -> Vec<(Vec<u8>, [u8; HINT_BYTES], [u8; 192])> {
    let all: Vec<_> = strings(json, "message")
        .into_iter()
        .zip(strings(json, "hints"))
        .zip(strings(json, "point"))
        .map(|((message, hints), point)| (unhex(message), sized(hints), sized(point)))
        .collect();
    assert!(all.len() >= 5);
    all
}

#[test]
fn products_match_and_stay_reduced() {
    let (a, b, ab) = (strings(SUITE, "a"), strings(SUITE, "b"), strings(SUITE, "ab"));
    assert!(a.len() > 100 && a.len() == b.len() && a.len() == ab.len());
    for index in 0..a.len() {
        let (x, y) = (plain(a[index]), plain(b[index]));
        let mut product = fp::ZERO;
        fp::multiply(&mut product, &entered(&x), &y);
        assert_eq!(canonical(&product), words(ab[index]), "{} * {}", a[index], b[index]);
        assert!(is_reduced(&product));
    }
}

#[test]
fn fp2_products_square_and_norm_agree() {
    let (a, b) = (strings(SUITE, "a"), strings(SUITE, "b"));
    for index in 0..a.len() {
        let x = fp2::Fp2 { c0: entered(&plain(a[index])), c1: entered(&plain(b[index])) };
        let (mut product, mut square, mut norm) = (fp2::ZERO, fp2::ZERO, fp::ZERO);
        fp2::multiply(&mut product, &x, &x);
        fp2::square(&mut square, &x);
        assert_eq!(canonical(&product.c0), canonical(&square.c0));
        assert_eq!(canonical(&product.c1), canonical(&square.c1));
        // x times its conjugate is its norm.
        let mut conjugate = x;
        fp::combine(&mut conjugate.c1, &x.c1, -1, &x.c1, 0);
        fp2::multiply(&mut product, &x, &conjugate);
        fp2::norm(&mut norm, &x);
        assert_eq!(canonical(&product.c0), canonical(&norm));
        assert_eq!(canonical(&product.c1), [0; 6]);
        assert!(is_reduced(&norm) && is_reduced(&square.c0) && is_reduced(&square.c1));
    }
}

#[test]
fn columns_of_extreme_limbs_do_not_overflow() {
    // All limbs at the ends of the balanced range, in every pairing of signs: the largest columns there can be. A column
    // that overflowed would lose the identity (a0 + a1·i)² = a0² - a1² + 2·a0·a1·i.
    let extremes = [
        Fp(core::array::from_fn(|k| if k < 12 { -(1 << 29) } else { -1_000_000 })),
        Fp(core::array::from_fn(|k| if k < 12 { (1 << 29) - 1 } else { 1_000_000 })),
        Fp(core::array::from_fn(|k| {
            if k == 12 {
                1_000_000
            } else if k % 2 == 0 {
                -(1 << 29)
            } else {
                (1 << 29) - 1
            }
        })),
        Fp(core::array::from_fn(|k| {
            if k == 12 {
                -1_000_000
            } else if k % 2 == 1 {
                -(1 << 29)
            } else {
                (1 << 29) - 1
            }
        })),
    ];
    for c0 in extremes {
        for c1 in extremes {
            let x = fp2::Fp2 { c0, c1 };
            let (mut product, mut expected, mut first, mut second) = (fp2::ZERO, fp::ZERO, fp::ZERO, fp::ZERO);
            fp2::multiply(&mut product, &x, &x);
            fp::multiply(&mut first, &c0, &c0);
            fp::multiply(&mut second, &c1, &c1);
            fp::combine(&mut expected, &first, 1, &second, -1);
            assert_eq!(canonical(&product.c0), canonical(&expected));
            fp2::square(&mut product, &x);
            assert_eq!(canonical(&product.c0), canonical(&expected));
            fp2::multiply(&mut product, &x, &x);
            fp::multiply(&mut first, &c0, &c1);
            fp::combine(&mut expected, &first, 2, &first, 0);
            assert_eq!(canonical(&product.c1), canonical(&expected));
            fp2::square(&mut product, &x);
            assert_eq!(canonical(&product.c1), canonical(&expected));
            assert!(is_reduced(&product.c0) && is_reduced(&product.c1));
        }
    }
}

#[test]
fn combinations_with_large_factors_are_reduced() {
    for a in strings(SUITE, "a") {
        let x = entered(&plain(a));
        for factor in [1, -1, 2, 253, -1728000, 1814400, (1 << 22) - 1] {
            let (mut combined, mut expected) = (fp::ZERO, fp::ZERO);
            fp::combine(&mut combined, &x, factor, &fp::ONE, 0);
            assert!(is_reduced(&combined), "{a} times {factor}");
            let mut number = fp::ZERO;
            number.0[0] = factor;
            let mut small = fp::ZERO;
            fp::combine(&mut small, &number, 1, &fp::ONE, 0);
            fp::multiply(&mut expected, &x, &small);
            let mut left = fp::ZERO;
            fp::divide_by_r(&mut left, &combined);
            assert_eq!(canonical(&left), canonical(&expected));
        }
    }
}

#[test]
fn canonical_numbers_are_those_below_p() {
    let mut number = fp::P_WORDS;
    assert!(!fp::is_canonical(&number));
    number[0] -= 1;
    assert!(fp::is_canonical(&number));
    number[0] += 2;
    assert!(!fp::is_canonical(&number));
    assert!(!fp::is_canonical(&[u64::MAX; 6]));
    assert!(fp::is_canonical(&[0; 6]));
    number = fp::P_WORDS;
    number[5] -= 1;
    number[0] = u64::MAX;
    assert!(fp::is_canonical(&number));
}

#[test]
fn field_elements_match() {
    for (json, dst) in [(SUITE, DST), (RFC, strings(RFC, "dst")[0].as_bytes())] {
        for ((message, _, _), numbers) in vectors(json).iter().zip(arrays(json, "u")) {
            let mut elements = [FieldElement::ZERO; 2];
            expand::hash_to_field(message, dst, &mut elements);
            let parts = [&elements[0].value.c0, &elements[0].value.c1, &elements[1].value.c0, &elements[1].value.c1];
            for (part, number) in parts.into_iter().zip(&numbers) {
                let mut left = fp::ZERO;
                fp::divide_by_r(&mut left, part);
                assert_eq!(canonical(&left), words(number));
            }
            assert_eq!(elements[0].is_odd, words(numbers[0])[0] & 1 == 1);
            assert!(!elements[0].is_zero && !elements[1].is_zero);
        }
    }
}

#[test]
fn the_sign_of_an_imaginary_number_is_its_imaginary_part_s() {
    for (c1, odd, zero) in [(2, false, false), (3, true, false), (0, false, true)] {
        let mut number = fp::ZERO;
        number.0[0] = c1;
        let mut element =
            FieldElement { value: fp2::Fp2 { c0: fp::ZERO, c1: entered(&number) }, is_odd: !odd, is_zero: !zero };
        expand::set_sign(&mut element);
        assert_eq!((element.is_odd, element.is_zero), (odd, zero));
    }
}

#[test]
fn points_match() {
    for (message, hints, expected) in vectors(SUITE) {
        let mut point = [0; 192];
        assert_eq!(hash_to_g2(&message.try_into().unwrap(), &hints, &mut point), Ok(()));
        assert_eq!(point, expected);
    }
}

#[test]
fn points_of_rfc_9380_match() {
    let dst = strings(RFC, "dst")[0].as_bytes();
    for (message, hints, expected) in vectors(RFC) {
        let mut point = [0; 192];
        assert_eq!(hash_with_tag(&message, dst, &hints, &mut point), Ok(()));
        assert_eq!(point, expected);
    }
}

#[test]
fn zero_maps_to_the_exceptional_point_by_the_first_candidate_only() {
    let rest = SUITE.split("\"exceptional\"").nth(1).unwrap();
    let bytes: [u8; HINT_BYTES] = sized(strings(rest, "hints")[0]);
    let expected: [u8; 192] = sized(strings(rest, "image")[0]);
    let hints = read(&bytes);
    let mut image = G2Point::EMPTY;
    for index in 0..2 {
        assert_eq!(map::map(&FieldElement::ZERO, &hints, index, &mut image), Ok(()));
        assert_eq!(image.bytes(), &expected);
    }
    assert_eq!(hints.multiple.bytes(), &g2::tests_support::multiple(&[image; 2]));

    let mut flagged = bytes;
    flagged[0] |= 0x80;
    let refused = map::map(&FieldElement::ZERO, &read(&flagged), 0, &mut image);
    assert_eq!(refused, Err(HintError::WrongCandidate));
}

/// number + P in 48 big-endian bytes, which hold it.
fn shifted_by_p(number: &[u8]) -> Vec<u8> {
    let mut out = number.to_vec();
    let mut carry = 0u16;
    for index in (0..48).rev() {
        let word = fp::P_WORDS[(47 - index) / 8];
        let sum = u16::from(out[index]) + (word >> (8 * ((47 - index) % 8)) & 0xff) as u16 + carry;
        out[index] = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    out
}

fn negated(number: &[u8]) -> Vec<u8> {
    let mut borrow = 0i16;
    let mut out = vec![0; 48];
    for index in (0..48).rev() {
        let word = fp::P_WORDS[(47 - index) / 8];
        let difference = (word >> (8 * ((47 - index) % 8)) & 0xff) as i16 - i16::from(number[index]) - borrow;
        out[index] = difference as u8;
        borrow = i16::from(difference < 0);
    }
    out
}

#[test]
fn altered_hints_are_refused_each_for_its_reason() {
    let all = vectors(SUITE);
    for (message, hints, _) in &all {
        let message: [u8; 32] = message.as_slice().try_into().unwrap();
        let result = |altered: &[u8; HINT_BYTES]| hash_to_g2(&message, altered, &mut [0; 192]);
        let with = |at: usize, bytes: &[u8]| {
            let mut altered = *hints;
            altered[at..at + bytes.len()].copy_from_slice(bytes);
            altered
        };
        for root in [0, 96] {
            let second = hints[root] & 0x80;
            let c1: Vec<u8> =
                core::iter::once(hints[root] & 0x7f).chain(hints[root + 1..root + 48].iter().copied()).collect();
            let c0 = &hints[root + 48..root + 96];
            // The same numbers plus P: congruent, of the other parity, and 48 bytes still.
            assert_eq!(result(&with(root + 48, &shifted_by_p(c0))), Err(HintError::NotCanonical));
            let mut above = shifted_by_p(&c1);
            above[0] |= second;
            assert_eq!(result(&with(root, &above)), Err(HintError::NotCanonical));
            // -y is a root too, of the other sign.
            let mut minus = negated(&c1);
            minus[0] |= second;
            minus.extend(negated(c0));
            assert_eq!(result(&with(root, &minus)), Err(HintError::WrongSign));
            // (P - y) + P fits into 48 bytes and has y's parity.
            let mut disguised = negated(&c1);
            disguised[0] |= second;
            disguised.extend(shifted_by_p(&negated(c0)));
            assert_eq!(result(&with(root, &disguised)), Err(HintError::NotCanonical));
            // The other candidate has other denominators.
            assert_eq!(result(&with(root, &[hints[root] ^ 0x80])), Err(HintError::WrongInverse));
            for bit in [0x40, 0x20] {
                assert_eq!(result(&with(root, &[hints[root] | bit])), Err(HintError::NotCanonical));
            }
            // Any other root of the right sign is off the curve.
            assert_eq!(result(&with(root + 95, &[hints[root + 95] ^ 2])), Err(HintError::WrongRoot));
            assert_eq!(result(&with(root + 47, &[hints[root + 47] ^ 1])), Err(HintError::WrongRoot));
            let conjugate: Vec<u8> = negated(&c1);
            let conjugate = with(root, &[&[conjugate[0] | second], &conjugate[1..]].concat());
            assert_eq!(result(&conjugate), Err(HintError::WrongRoot));
        }
        for at in [192, 240] {
            let inverse = &hints[at..at + 48];
            assert_eq!(result(&with(at, &shifted_by_p(inverse))), Err(HintError::NotCanonical));
            assert_eq!(result(&with(at, &negated(inverse))), Err(HintError::WrongInverse));
            assert_eq!(result(&with(at, &[0; 48])), Err(HintError::WrongInverse));
            assert_eq!(result(&with(at + 47, &[hints[at + 47] ^ 1])), Err(HintError::WrongInverse));
        }
        assert!(result(&[0; HINT_BYTES]).is_err());
        assert!(result(&[0xff; HINT_BYTES]).is_err());
        let swapped = with(0, &[&hints[96..192], &hints[..96]].concat());
        assert!(result(&swapped).is_err());
        let swapped = with(192, &[&hints[240..288], &hints[192..240]].concat());
        assert_eq!(result(&swapped), Err(HintError::WrongInverse));
    }
    for (index, (message, _, _)) in all.iter().enumerate() {
        let other = &all[(index + 1) % all.len()].1;
        assert!(hash_to_g2(&message.as_slice().try_into().unwrap(), other, &mut [0; 192]).is_err());
    }
}

#[test]
fn a_wrong_candidate_with_its_own_inverse_is_refused() {
    // The strongest lie: the flag flipped and the inverse made for the other denominators. No root of the right sign is on
    // the curve there, for its g(x) is no square; the square root of Z·g(x), with which one could fake one, is no root.
    let (message, hints, _) = &vectors(SUITE)[0];
    let message: [u8; 32] = message.as_slice().try_into().unwrap();
    let mut altered = *hints;
    altered[0] ^= 0x80;
    let mut elements = [FieldElement::ZERO; 2];
    expand::hash_to_field(&message, DST, &mut elements);
    let inverse = map::tests_support::inverse_hint(&elements[0], &read(&altered), 0);
    altered[192..240].copy_from_slice(&inverse);
    assert_eq!(hash_to_g2(&message, &altered, &mut [0; 192]), Err(HintError::WrongRoot));
}

#[test]
fn a_wrong_multiple_leads_out_of_the_subgroup_or_nowhere() {
    let all = vectors(SUITE);
    for (index, (message, hints, expected)) in all.iter().enumerate().take(2) {
        let message: [u8; 32] = message.as_slice().try_into().unwrap();
        let with = |multiple: &[u8]| {
            let (mut altered, mut point) = (*hints, [0; 192]);
            altered[288..].copy_from_slice(multiple);
            hash_to_g2(&message, &altered, &mut point).map(|()| point)
        };
        let right = &hints[288..];
        assert!(is_in_subgroup(expected));
        // Other points of E2, infinity among them: a result, and it is outside G2. The pairing refuses it there.
        let infinity = [&[0x40], &[0; 191][..]].concat();
        let minus = [&right[..96], &negated(&right[96..144]), &negated(&right[144..])].concat();
        for wrong in [&all[(index + 1) % all.len()].1[288..], &infinity, &minus] {
            let point = with(wrong).unwrap();
            assert!(!is_in_subgroup(&point));
        }
        // A point of G2 more leaves the result as it is: z + psi is zero on G2.
        let mut shifted = G2Point::EMPTY;
        shifted.bytes_mut().copy_from_slice(right);
        let mut other = G2Point::EMPTY;
        other.bytes_mut().copy_from_slice(&all[(index + 1) % all.len()].2);
        super::syscall::g2_add(&mut shifted, &other).map_err(|_| ()).unwrap();
        assert_eq!(with(shifted.bytes()), Ok(*expected));
        // No points.
        let off_curve = [&right[..191], &[right[191] ^ 1]].concat();
        let above = [&shifted_by_p(&right[..48]), &right[48..]].concat();
        for wrong in [&off_curve, &above, &[0; 192].to_vec()] {
            assert_eq!(with(wrong), Err(HintError::WrongMultiple));
        }
    }
}
