//! Points and outlines on the map: distance, inside or not, and reading well-known binary.
//!
//! Only arithmetic that IEEE 754 fixes to the last bit is used (no sine or cosine), so that the data come out the same on
//! every machine.

use anyhow::{Context as _, Result, bail, ensure};

/// A place: degrees east and north.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Longitude, degrees east.
    pub lon: f64,
    /// Latitude, degrees north.
    pub lat: f64,
}

impl Point {
    /// A place at a longitude and a latitude.
    pub const fn new(lon: f64, lat: f64) -> Self {
        Self { lon, lat }
    }

    /// The place `east` and `north` kilometres away.
    pub fn moved(self, east_km: f64, north_km: f64) -> Self {
        Self { lon: self.lon + east_km / (KM_PER_DEGREE * cosine(self.lat)), lat: self.lat + north_km / KM_PER_DEGREE }
    }

    /// The place `part` of the way towards `other`.
    pub fn towards(self, other: Point, part: f64) -> Self {
        Self { lon: self.lon + (other.lon - self.lon) * part, lat: self.lat + (other.lat - self.lat) * part }
    }
}

const KM_PER_DEGREE: f64 = 111.2;

/// Cosine of an angle in degrees by its series to the fourth power: within 0.01 % up to 15°, and Indonesia lies within 11°.
fn cosine(degrees: f64) -> f64 {
    let square = degrees * degrees * (std::f64::consts::PI / 180.0) * (std::f64::consts::PI / 180.0);
    1.0 - square / 2.0 + square * square / 24.0
}

/// Square of the distance in kilometres, on a plane that touches the earth between the two.
pub fn distance2(a: Point, b: Point) -> f64 {
    let east = (a.lon - b.lon) * cosine(f64::midpoint(a.lat, b.lat));
    let north = a.lat - b.lat;
    (east * east + north * north) * (KM_PER_DEGREE * KM_PER_DEGREE)
}

/// Distance in kilometres.
pub fn distance_km(a: Point, b: Point) -> f64 {
    distance2(a, b).sqrt()
}

/// A rectangle of longitude and latitude.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// South-west corner.
    pub low: Point,
    /// North-east corner.
    pub high: Point,
}

impl Bounds {
    /// The smallest that holds all `points`.
    pub fn of<'p>(points: impl IntoIterator<Item = &'p Point>) -> Self {
        let mut bounds = Self { low: Point::new(f64::MAX, f64::MAX), high: Point::new(f64::MIN, f64::MIN) };
        for point in points {
            bounds.low = Point::new(bounds.low.lon.min(point.lon), bounds.low.lat.min(point.lat));
            bounds.high = Point::new(bounds.high.lon.max(point.lon), bounds.high.lat.max(point.lat));
        }
        bounds
    }

    fn contains(&self, point: Point) -> bool {
        (self.low.lon..=self.high.lon).contains(&point.lon) && (self.low.lat..=self.high.lat).contains(&point.lat)
    }
}

/// A ring of points, its last not repeating its first.
pub type Ring = Vec<Point>;

/// An outer ring and the holes in it.
#[derive(Clone, Debug)]
pub struct Polygon {
    /// Outer ring first.
    pub rings: Vec<Ring>,
    bounds: Bounds,
}

impl Polygon {
    /// A polygon of an outer ring and holes.
    pub fn new(rings: Vec<Ring>) -> Self {
        let bounds = Bounds::of(&rings[0]);
        Self { rings, bounds }
    }

    fn contains(&self, point: Point) -> bool {
        // Even-odd rule over all rings, so a hole counts as outside.
        self.bounds.contains(point)
            && self.rings.iter().flat_map(|ring| edges(ring)).fold(false, |inside, (a, b)| {
                let crosses = (a.lat > point.lat) != (b.lat > point.lat)
                    && point.lon < (b.lon - a.lon) * (point.lat - a.lat) / (b.lat - a.lat) + a.lon;
                inside != crosses
            })
    }
}

/// The edges of a closed ring.
pub fn edges(ring: &[Point]) -> impl Iterator<Item = (Point, Point)> + '_ {
    ring.iter().zip(ring.iter().cycle().skip(1)).map(|(a, b)| (*a, *b))
}

/// Islands and mainland of one province or country.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Its polygons.
    pub polygons: Vec<Polygon>,
}

impl Shape {
    /// Whether a place lies on it.
    pub fn contains(&self, point: Point) -> bool {
        self.polygons.iter().any(|polygon| polygon.contains(point))
    }

    /// The rectangle around it.
    pub fn bounds(&self) -> Bounds {
        Bounds::of(self.polygons.iter().flat_map(|polygon| &polygon.rings[0]))
    }

    /// Its area in square degrees.
    pub fn area(&self) -> f64 {
        self.polygons.iter().flat_map(|polygon| &polygon.rings).map(|ring| signed_area(ring).abs()).sum()
    }

    /// Distance in kilometres to its nearest edge.
    pub fn edge_distance_km(&self, point: Point) -> f64 {
        let all = self.polygons.iter().flat_map(|polygon| &polygon.rings).flat_map(|ring| edges(ring));
        all.map(|(a, b)| distance2(point, nearest_on(point, a, b))).fold(f64::MAX, f64::min).sqrt()
    }
}

fn nearest_on(point: Point, a: Point, b: Point) -> Point {
    let (east, north) = (b.lon - a.lon, b.lat - a.lat);
    let length2 = east * east + north * north;
    if length2 <= 0.0 {
        return a;
    }
    a.towards(b, (((point.lon - a.lon) * east + (point.lat - a.lat) * north) / length2).clamp(0.0, 1.0))
}

/// Area of a ring in square degrees, positive where it runs counter-clockwise.
pub fn signed_area(ring: &[Point]) -> f64 {
    edges(ring).map(|(a, b)| a.lon * b.lat - b.lon * a.lat).sum::<f64>() / 2.0
}

/// Reads the (multi)polygon in a `GeoPackage` blob: its header (OGC 12-128r19, 2.1.3), then well-known binary.
pub fn read_gpkg_shape(blob: &[u8]) -> Result<Shape> {
    ensure!(blob.starts_with(b"GP"), "not a GeoPackage geometry");
    let envelope = [0, 32, 48, 48, 64].get(usize::from(blob[3] >> 1 & 7)).context("an unknown kind of envelope")?;
    let mut reader = Wkb { bytes: blob, at: 8 + envelope };
    let mut shape = Shape::default();
    reader.geometry(&mut shape)?;
    Ok(shape)
}

struct Wkb<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Wkb<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes.get(self.at..self.at + N).context("a geometry is cut off")?;
        self.at += N;
        Ok(bytes.try_into().expect("N bytes"))
    }

    fn count(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn geometry(&mut self, shape: &mut Shape) -> Result<()> {
        ensure!(self.take()? == [1u8], "only little-endian geometries are read");
        match self.count()? {
            3 => {
                let mut rings = Vec::new();
                for _ in 0..self.count()? {
                    let mut ring = Ring::new();
                    for _ in 0..self.count()? {
                        let (lon, lat) = (f64::from_le_bytes(self.take()?), f64::from_le_bytes(self.take()?));
                        ring.push(Point::new(lon, lat));
                    }
                    if ring.first() == ring.last() {
                        ring.pop();
                    }
                    rings.push(ring);
                }
                shape.polygons.push(Polygon::new(rings));
                Ok(())
            }
            6 => {
                for _ in 0..self.count()? {
                    self.geometry(shape)?;
                }
                Ok(())
            }
            kind => bail!("geometry kind {kind} is not a polygon"),
        }
    }
}
