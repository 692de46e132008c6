//! Decoding of a frame: the first byte of an input names the link, the rest is the content, to which the right
//! tag is put. Without that nothing but the tag would ever be tested.
//!
//! What decodes encodes to bytes that decode to the same frame, and to the ones that came but for this: a field that
//! a later version appends is left out, what an earlier one lacks is put in, and postcard reads a number that is
//! longer than it needs to be.

use orthrus_hb::wire::{self, Body, Frame, FrameError, TAG_BYTES};
use orthrus_hb::{FRAME_MAX_BYTES, LinkId};

use crate::input::Input;
use crate::rng::Rng;
use crate::seen::Seen;
use crate::tag;

pub const SECRET: [u8; 32] = [3; 32];

pub fn run(input: &[u8], seen: &mut Seen) {
    let mut input = Input(input);
    let link = input.pick(&LinkId::ALL);
    let content = input.0;
    let bytes = tag::sealed(content, link, &SECRET);
    match wire::decode(&bytes, link, &SECRET) {
        Ok(frame) => {
            again(&frame, content, link, seen);
            describe(&frame, link, seen);
        }
        Err(error @ (FrameError::Encoding | FrameError::Short)) => {
            seen.note(format_args!("{error}"))
        }
        Err(FrameError::Version(version)) => {
            assert_eq!(content.first(), Some(&version));
            seen.note(format_args!("other version"));
        }
        Err(error) => panic!("the tag was right: {error}"),
    }
    unauthentic(&bytes, link);
}

/// The frame as bytes once more.
fn again(frame: &Frame<'_>, content: &[u8], link: LinkId, seen: &mut Seen) {
    let mut buffer = [0; FRAME_MAX_BYTES];
    let Ok(length) = wire::encode(frame, link, &SECRET, &mut buffer) else {
        // A fragment longer than ours: whoever reads it does not have to be able to say it.
        assert!(content.len() + TAG_BYTES > FRAME_MAX_BYTES);
        seen.note(format_args!("too long to be sent"));
        return;
    };
    let encoded = &buffer[..length - TAG_BYTES];
    let said = wire::decode(&buffer[..length], link, &SECRET).unwrap();
    assert_eq!(said, *frame);
    let pools = match &frame.body {
        Body::Beat { pools, .. } => pools.len(),
        Body::Fragment { .. } | Body::Received { .. } | Body::Fences => 0,
    };
    // A beat that left the health of its pools out is quoted with it.
    assert!(encoded.len() <= content.len() + pools, "{frame:?} grew");
    let canonical = encoded == content;
    let appended = !canonical && content.starts_with(encoded);
    seen.note(format_args!("canonical {canonical} appended {appended}"));
}

fn describe(frame: &Frame<'_>, link: LinkId, seen: &mut Seen) {
    let Frame {
        version,
        sender,
        echo,
        fences,
        lag,
        ..
    } = frame;
    seen.note(format_args!("version {version}"));
    let told = [fences.is_some(), lag.is_some()];
    seen.note(format_args!("appended, fences and lag: {told:?}"));
    for (link, heard) in LinkId::ALL.iter().zip(frame.heard(link)) {
        assert!(heard <= frame.acknowledged);
        seen.note(format_args!("heard on {}: {}", link.name(), heard > 0));
    }
    seen.note(format_args!("from {sender:?} echo {}", echo.is_some()));
    match &frame.body {
        Body::Beat { pools, .. } => {
            seen.note(format_args!("beat of {} pools", pools.len()));
            for beat in pools {
                seen.note(format_args!("beat {} {:?}", beat.state.name(), beat.wish));
            }
        }
        Body::Fragment { data, .. } => {
            seen.note(format_args!(
                "fragment of about {}",
                data.len().next_power_of_two()
            ));
        }
        Body::Received { .. } => seen.note(format_args!("received")),
        Body::Fences => seen.note(format_args!("fences")),
    }
}

/// The same bytes without the right tag are refused for that and nothing else.
fn unauthentic(bytes: &[u8], link: LinkId) {
    let other = LinkId::ALL[(link.index() + 1) % LinkId::ALL.len()];
    assert_eq!(wire::decode(bytes, other, &SECRET), Err(FrameError::Tag));
    assert_eq!(wire::decode(bytes, link, &[4; 32]), Err(FrameError::Tag));
    let mut rng = Rng::new(bytes.len() as u64);
    let mut flipped = bytes.to_vec();
    let at = rng.index(flipped.len());
    flipped[at] ^= 1 << rng.below(8);
    assert_eq!(wire::decode(&flipped, link, &SECRET), Err(FrameError::Tag));
}
