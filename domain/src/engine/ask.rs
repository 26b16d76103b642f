//! What people see of devices: how each stands, what only its own page shows, and the worst of a place.

use super::{DeviceState, Engine};
use crate::coldchain::{Condition, Excursion};
use crate::feed::{DeviceMore, DeviceNow, LISTED_GAPS, OutOfRange};
use crate::join::Fix;
use crate::master::SensorIx;
use crate::rollup::Node;
use crate::sequence::Gap;
use crate::time::ProcessingTime;

impl Engine {
    /// How a device stands now.
    pub fn condition(&self, index: u32) -> Condition {
        self.condition_at(index, self.now)
    }

    /// How it stands at `at` if nothing more comes until then.
    pub(super) fn condition_at(&self, index: u32, at: ProcessingTime) -> Condition {
        let device = &self.devices[index as usize];
        match device.state.latest {
            Some(reading) if at.ms() < reading.at.ms() + self.config.silent_after_ms => {
                device.range.condition(reading.temperature)
            }
            _ => Condition::NoWord,
        }
    }

    /// What people see of a device.
    pub fn device_now(&self, index: u32) -> DeviceNow {
        let state = &self.devices[index as usize].state;
        let condition = self.condition(index);
        DeviceNow {
            id: state.id.to_string(),
            condition,
            reading: state.latest,
            received_at: state.received_at,
            excursion: self.excursion(index),
            fault: state.fault,
        }
    }

    /// The excursion that a device is in, as of its newest reading.
    pub fn excursion(&self, index: u32) -> Option<Excursion> {
        let device = &self.devices[index as usize];
        device.state.outside.as_ref().and_then(|outside| outside.excursion(device.range))
    }

    /// Where the newest reading of a device was taken, where it travels with a tracker.
    pub fn position(&self, index: u32) -> Option<Fix> {
        let state = &self.devices[index as usize].state;
        state
            .extra
            .as_ref()
            .and_then(|extra| extra.join.as_ref())
            .zip(state.latest)
            .and_then(|(join, reading)| join.nearest(self.config.join, reading.at))
    }

    /// How many records of a device are missing by its running numbers; 0 also where it does not count them.
    pub fn missing(&self, index: u32) -> u64 {
        self.devices[index as usize].state.extra.as_ref().map_or(0, |extra| extra.sequences.missing())
    }

    /// What only the page of a device shows.
    pub fn device_more(&self, index: u32) -> DeviceMore {
        let extra = self.devices[index as usize].state.extra.as_deref();
        let mut gaps: Vec<Gap> = extra.map(|extra| extra.sequences.gaps().copied().collect()).unwrap_or_default();
        gaps.sort_unstable_by_key(|gap| std::cmp::Reverse(gap.before));
        gaps.truncate(LISTED_GAPS);
        DeviceMore { missing: self.missing(index), gaps, position: self.position(index) }
    }

    /// Index of the device with that id, registered or heard of.
    pub fn device_by_id(&self, id: &str) -> Option<u32> {
        self.by_id.get(&self.devices, id)
    }

    /// State of a device.
    pub fn device_state(&self, index: u32) -> &DeviceState {
        &self.devices[index as usize].state
    }

    /// The sensor that a device is registered as.
    pub fn sensor_of(&self, index: u32) -> Option<SensorIx> {
        self.devices[index as usize].sensor
    }

    /// Number of devices: those of the master data, then those heard of without being registered.
    pub fn device_count(&self) -> u32 {
        self.devices.len() as u32
    }

    /// The registered devices below `node` that are outside their range now: freezing first, then farthest outside, at most `limit`.
    pub fn worst(&self, node: Node, limit: usize) -> Vec<OutOfRange> {
        let rank = |index: &u32| {
            let device = &self.devices[*index as usize];
            let reading = device.state.latest.expect("a device outside its range has a reading");
            (
                device.standing.condition != Condition::Freezing,
                std::cmp::Reverse(device.range.distance(reading.temperature)),
                *index,
            )
        };
        let mut below: Vec<u32> = self.out_of_range.iter().copied().filter(|index| self.is_below(*index, node)).collect();
        below.sort_by_cached_key(rank);
        below.truncate(limit);
        below.into_iter().filter_map(|index| self.out_of_range_row(index)).collect()
    }

    fn is_below(&self, index: u32, node: Node) -> bool {
        let Some(facility) = self.devices[index as usize].facility else { return false };
        match self.rollup.place(node) {
            Some(Ok(region)) => self.master.ancestors(self.master.facility(facility).region).any(|r| r == region),
            Some(Err(own)) => own == facility,
            None => false,
        }
    }

    fn out_of_range_row(&self, index: u32) -> Option<OutOfRange> {
        let device = &self.devices[index as usize];
        let (sensor, facility) = (self.master.sensor(device.sensor?), self.master.facility(device.facility?));
        let (reading, excursion) = (device.state.latest?, self.excursion(index)?);
        let regency = self.master.ancestor_at(facility.region, 2).unwrap_or(facility.region);
        Some(OutOfRange {
            device: device.state.id.to_string(),
            equipment: sensor.equipment,
            number: sensor.number,
            facility: facility.code.clone(),
            facility_name: facility.name.clone(),
            place: self.master.region(regency).name.clone(),
            condition: device.standing.condition,
            temperature: reading.temperature,
            excursion,
        })
    }
}
