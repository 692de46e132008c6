//! The identity of what is known of the peer.

use core::hash::Hasher;

use embassy_time::Duration;

use super::{CANDIDATE_LIFETIME, Candidate, Peer};
use crate::fingerprint::Print;
use crate::link::{Link, LinkId};

impl Peer {
    /// `longest`: the longest silence that anything waits for.
    pub(crate) fn fingerprint<H: Hasher>(&self, longest: Duration, print: &mut Print<'_, H>) {
        let Peer {
            incarnation,
            version,
            candidate,
            retired,
            links,
            silence,
            digest,
            takes_fences,
            words,
        } = self;
        print.put((incarnation, version));
        print.put(candidate.is_some());
        if let Some(Candidate {
            incarnation,
            seen,
            mark: _, // see `Head::awaited_acknowledgements`
        }) = candidate
        {
            print.put(incarnation);
            print.since(*seen, CANDIDATE_LIFETIME);
        }
        print.put(retired.len());
        retired.iter().for_each(|old| print.put(old));
        for link in links {
            link.fingerprint(longest, print);
        }
        print.span(*silence, longest);
        print.put((digest, takes_fences));
        for word in words {
            print.put(word.map(|word| word.beat)); // its numbers: see `Head::fingerprint`
        }
    }

    /// What an incarnation must acknowledge to be confirmed.
    pub(crate) fn awaited(&self) -> Option<[u64; LinkId::ALL.len()]> {
        self.candidate
            .map(|candidate| [candidate.mark; LinkId::ALL.len()])
    }

    /// The number of the frame that told of a pool last; see [`Word`](super::Word).
    pub(crate) fn said(&self, pool: usize) -> u64 {
        self.word(pool).map_or(0, |word| word.order)
    }

    /// By link: whether a frame of ours, or a later one, was acknowledged at all, and by what was said of a pool.
    pub(crate) fn has_acknowledged(
        &self,
        pool: usize,
        marks: &[u64; LinkId::ALL.len()],
    ) -> [(bool, bool); LinkId::ALL.len()] {
        let word = self.word(pool);
        LinkId::ALL.map(|link| {
            let index = link.index();
            let said = word.is_some_and(|word| word.acknowledged[index] >= marks[index]);
            (self.links[index].acknowledged >= marks[index], said)
        })
    }
}

impl Link {
    /// How late it is decides nothing.
    fn fingerprint<H: Hasher>(&self, longest: Duration, print: &mut Print<'_, H>) {
        print.put(self.silence().is_some());
        print.put(self.received > 0); // what echoes another boot of ours counts only then
        if let Some(silence) = self.silence() {
            print.span(silence, longest);
        }
    }
}
