//! Work for a device, cut into parts: the host prepares the next part while the device does this one.
//!
//! Only the read-back buffer is double-buffered: each submission has its own. The queue orders everything
//! else. It does uploads, kernels and copies in the order in which they were given; `write_buffer` keeps
//! its data aside until then; and the results of a part are copied out before the next part begins.

use std::ops::Range;

use futures_channel::oneshot::{Receiver, channel};
use wgpu::{
    Buffer, BufferAsyncError, BufferDescriptor, BufferUsages, CommandEncoder, MapMode,
    SubmissionIndex,
};

use super::device::Gpu;
use crate::backend::DeviceError;
use crate::clock::Instant;

/// Parts of a run of steps. The device waits for the host only while the host prepares the first part and
/// after it has read the last.
const PARTS: usize = 8;
/// The fewest steps of a part: a submission costs the host about 100 us, whatever is in it. (Measured on
/// lavapipe.)
const LEAST: usize = 16;

/// Cuts a run of steps into parts of at most `most` steps. Where `most` allows it, each part but the last
/// is a multiple of `unit`.
pub fn parts(steps: usize, most: usize, unit: usize) -> impl Iterator<Item = Range<usize>> {
    let wanted = steps.div_ceil(PARTS).max(LEAST).next_multiple_of(unit);
    let part = wanted.min(most);
    (0..steps)
        .step_by(part)
        .map(move |first| first..steps.min(first + part))
}

/// Runs the parts of some work on a device, in order. While the device does one part, the next is prepared
/// and submitted: at most two are in flight. `finish` waits for a part and checks its results. After an
/// error no further part is submitted, and the part in flight is discarded.
pub async fn overlapped<D, S>(
    device: &mut D,
    parts: impl Iterator<Item = Range<usize>>,
    submit: impl Fn(&mut D, Range<usize>) -> S,
    mut finish: impl AsyncFnMut(&mut D, Range<usize>, S) -> Result<(), DeviceError>,
) -> Result<(), DeviceError> {
    let mut running = None;
    for part in parts {
        let submitted = submit(device, part.clone());
        if let Some((before, submitted)) = running.replace((part, submitted)) {
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
    fn parts_follow_each_other_and_are_no_longer_than_they_may_be() {
        let lens = |steps, most, unit| -> Vec<usize> {
            let parts: Vec<_> = parts(steps, most, unit).collect();
            let mut next = 0;
            for part in &parts {
                assert_eq!(part.start, next);
                next = part.end;
            }
            assert_eq!(next, steps);
            parts.iter().map(Range::len).collect()
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
    fn the_next_part_is_submitted_before_this_one_is_waited_for() {
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
