//! Work for a device, split into submissions: the host prepares the next one while the device does this one.
//!
//! Only the read-back buffer is double-buffered: each submission has its own. The queue orders everything
//! else: it does uploads, kernels and copies in the order in which they were given, `write_buffer` keeps a
//! copy of its data until then, and the results of a submission are copied out before the next one begins.

use std::ops::Range;

use futures_channel::oneshot::{Receiver, channel};
use wgpu::{
    Buffer, BufferAsyncError, BufferDescriptor, BufferUsages, CommandEncoder, MapMode,
    SubmissionIndex,
};

use super::device::Gpu;
use crate::backend::DeviceError;
use crate::clock::Instant;

/// Submissions of a run of steps. The device waits for the host only while the host prepares the first and
/// after it has read the last.
const SUBMISSIONS: usize = 8;
/// Steps of a submission at least: it costs the host about 100 us, whatever is in it. (Measured on
/// lavapipe.)
const LEAST: usize = 16;

/// Splits a run of steps into submissions of at most `most` steps. Where `most` allows it, each but the last
/// has a multiple of `unit` steps.
pub fn submissions(steps: usize, most: usize, unit: usize) -> impl Iterator<Item = Range<usize>> {
    let wanted = steps
        .div_ceil(SUBMISSIONS)
        .max(LEAST)
        .next_multiple_of(unit);
    let length = wanted.min(most);
    (0..steps)
        .step_by(length)
        .map(move |first| first..steps.min(first + length))
}

/// Does submissions in order. While the device does one, the next is prepared and submitted: at most two are
/// in flight. `finish` waits for one and checks its results. After an error nothing further is submitted, and
/// the results of what is in flight are discarded.
pub async fn overlapped<D, S>(
    device: &mut D,
    submissions: impl Iterator<Item = Range<usize>>,
    submit: impl Fn(&mut D, Range<usize>) -> S,
    mut finish: impl AsyncFnMut(&mut D, Range<usize>, S) -> Result<(), DeviceError>,
) -> Result<(), DeviceError> {
    let mut running = None;
    for steps in submissions {
        let submitted = submit(device, steps.clone());
        if let Some((before, submitted)) = running.replace((steps, submitted)) {
            finish(device, before, submitted).await?;
        }
    }
    match running {
        Some((last, submitted)) => finish(device, last, submitted).await,
        None => Ok(()),
    }
}

/// Submitted work. Dropping this does not stop the work; its results are then lost.
pub struct Submitted {
    gpu: Gpu,
    index: SubmissionIndex,
    at: Instant,
    /// The results, once the work is done.
    results: Buffer,
    /// Bytes of each of them.
    lens: Vec<u64>,
    /// Told when `results` is mapped, or why it cannot be.
    mapped: Receiver<Result<(), BufferAsyncError>>,
}

/// Finished work.
pub struct Done {
    /// The bytes of each source.
    pub read: Vec<Vec<u8>>,
    /// When it was submitted.
    pub submitted: Instant,
    /// When the host saw its end.
    pub ended: Instant,
}

impl Gpu {
    /// Submits the work in `encoder`, and after it a copy of each source `(buffer, offset, len)`, in bytes.
    pub fn submit(
        &self,
        mut encoder: CommandEncoder,
        sources: &[(&Buffer, u64, u64)],
    ) -> Submitted {
        let lens: Vec<u64> = sources.iter().map(|source| source.2).collect();
        let results = self.device.create_buffer(&BufferDescriptor {
            label: Some("read back"),
            size: lens.iter().sum::<u64>().max(4),
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut to = 0;
        for &(buffer, offset, len) in sources {
            encoder.copy_buffer_to_buffer(buffer, offset, &results, to, len);
            to += len;
        }
        let commands = encoder.finish();
        let at = Instant::now();
        let index = self.queue.submit([commands]);
        let (tell, mapped) = channel();
        results.map_async(MapMode::Read, .., move |result| {
            // Nobody is told of work that was dropped.
            let _ = tell.send(result);
        });
        Submitted {
            gpu: self.clone(),
            index,
            at,
            results,
            lens,
            mapped,
        }
    }

    /// Submits the work in `encoder`, waits for it, and reads each source `(buffer, offset, len)`.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn finish_and_read(
        &self,
        encoder: CommandEncoder,
        sources: &[(&Buffer, u64, u64)],
    ) -> Result<Vec<Vec<u8>>, DeviceError> {
        Ok(self.submit(encoder, sources).wait().await?.read)
    }
}

impl Submitted {
    /// Waits for this work, not for what was submitted after it, and reads its results.
    ///
    /// # Errors
    ///
    /// The device failed, in this work or in other work.
    pub async fn wait(self) -> Result<Done, DeviceError> {
        let waited = self.gpu.wait(&self.index, self.mapped).await;
        let ended = Instant::now();
        self.gpu.check()?;
        waited?;
        let view = self.results.get_mapped_range(..);
        let view = view.map_err(|error| self.gpu.unreadable(error.to_string()))?;
        let mut rest = &view[..];
        let mut read = Vec::with_capacity(self.lens.len());
        for &len in &self.lens {
            let (bytes, others) = rest.split_at(len as usize);
            read.push(bytes.to_vec());
            rest = others;
        }
        Ok(Done {
            read,
            submitted: self.at,
            ended,
        })
    }
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;

    #[test]
    fn submissions_follow_each_other_and_are_no_longer_than_they_may_be() {
        let lens = |steps, most, unit| -> Vec<usize> {
            let ranges: Vec<_> = submissions(steps, most, unit).collect();
            let mut next = 0;
            for range in &ranges {
                assert_eq!(range.start, next);
                next = range.end;
            }
            assert_eq!(next, steps);
            ranges.iter().map(Range::len).collect()
        };
        assert_eq!(lens(0, 100, 1), [0; 0]);
        assert_eq!(lens(1, 100, 1), [1]);
        assert_eq!(lens(16, 100, 1), [16]);
        assert_eq!(lens(20, 100, 1), [16, 4]);
        assert_eq!(lens(800, 1000, 1), [100; 8]);
        assert_eq!(lens(800, 1000, 240), [240, 240, 240, 80]);
        assert_eq!(lens(10, 4, 240), [4, 4, 2]);
        assert_eq!(lens(3, 1, 240), [1, 1, 1]);
    }

    #[test]
    fn the_next_submission_is_made_before_this_one_is_waited_for() {
        let run = |steps, fails_at| {
            let mut log: Vec<(&str, usize)> = Vec::new();
            let result = block_on(overlapped(
                &mut log,
                (0..steps).map(|i| i..i + 1),
                |log, part| {
                    log.push(("submit", part.start));
                    part.start
                },
                async |log, part, submitted| {
                    assert_eq!(part, submitted..submitted + 1);
                    log.push(("finish", submitted));
                    match submitted == fails_at {
                        true => Err(DeviceError::Fault("a part".to_owned())),
                        false => Ok(()),
                    }
                },
            ));
            (log, result.is_ok())
        };
        let (submit, finish) = (|i| ("submit", i), |i| ("finish", i));
        assert_eq!(run(0, 9), (vec![], true));
        assert_eq!(run(1, 9), (vec![submit(0), finish(0)], true));
        let mut want = vec![submit(0), submit(1), finish(0), submit(2), finish(1)];
        assert_eq!(run(4, 1), (want.clone(), false));
        want.push(finish(2));
        assert_eq!(run(3, 2), (want.clone(), false));
        assert_eq!(run(3, 9), (want, true));
    }
}
