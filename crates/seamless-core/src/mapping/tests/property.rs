//! Over many seeds: the prediction is what is read back.

use super::*;

/// What is predicted is what is read back, whatever the mapping, the value, and the shape in which the system hands it out.
#[test]
fn predictions_hold() {
    let (mut projected, mut refused) = (0, 0);
    for seed in 0..40_000 {
        let mut random = Random(seed);
        let (field, path) = random.field();
        let mapping = mapping([("f", field)]);
        if mapping.validate().is_err() {
            continue;
        }
        let value = random.value();
        let Ok(projection) = mapping.project("f", &value) else {
            refused += 1;
            continue;
        };
        projected += 1;
        let native = random.as_handed_out(projection.native);
        let observed = mapping.observe(&random.record(path, native));
        assert!(observed.broken.is_empty(), "seed {seed}: {:?}", observed.broken);
        let shown = (observed.fields["f"].to_json(), projection.predicted.to_json());
        assert!(
            observed.fields["f"] == projection.predicted,
            "seed {seed}: {shown:?}"
        );
        let canonical = mapping.fields["f"].kind.convert(&value).unwrap_or_default();
        assert!(
            projection.lossy.is_some() || Compare::Exact.same(&canonical, &projection.predicted),
            "seed {seed}: undeclared loss"
        );
        let Ok(again) = mapping.project("f", &projection.predicted) else {
            panic!("seed {seed}: cannot write back what was read")
        };
        assert!(
            again.predicted == projection.predicted,
            "seed {seed}: writing back what was read changes it"
        );
    }
    assert!(
        projected > 5_000 && refused > 5_000,
        "{projected} projected, {refused} refused"
    );
}

/// Splitmix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.next() % of.len() as u64).unwrap()].clone()
    }

    fn kind(&mut self) -> FieldKind {
        use FieldKind::*;
        self.pick(&[Text, Text, Int, Decimal, Bool, Date, Time, Choice, Reference])
    }

    fn field(&mut self) -> (FieldMapping, &'static str) {
        let path = self.pick(&["f", "address.city", "udf.Other ID", "a.b.c"]);
        let mut field = FieldMapping::new(path, self.kind());
        if self.chance(40) {
            field.native_kind = Some(self.kind());
        }
        field.required = self.chance(10);
        field.truncate = self.chance(30);
        field.max_length = if self.chance(30) {
            Some(self.pick(&[1, 2, 3, 7, 12]))
        } else {
            None
        };
        while self.chance(30) {
            use Transform::*;
            field
                .transforms
                .push(self.pick(&[Trim, Lowercase, Uppercase, PhoneDigits, Collapse]));
        }
        if field.kind == FieldKind::Choice && self.chance(80) {
            field.options = Some(self.options());
        }
        (field, path)
    }

    fn options(&mut self) -> OptionMap {
        let names = ["a", "b", "c", "0", "true"];
        let natives: [Value; 5] = [0.into(), 1.into(), "1 x".into(), true.into(), "b".into()];
        let count = self.pick(&[1, 2, 4]);
        let some = |random: &mut Random| random.chance(30).then(|| random.pick(&names).to_owned());
        OptionMap {
            pairs: (0..count)
                .map(|_| (self.pick(&names).to_owned(), self.pick(&natives)))
                .collect(),
            write_fallback: some(self),
            read_fallback: some(self),
            read_only: some(self).into_iter().collect(),
        }
    }

    fn value(&mut self) -> Value {
        let texts = [
            "",
            " \n",
            "a",
            "b",
            "Ärger & Söhne",
            "  two  words\r\nhere ",
            "+49 (30) 1",
            "0",
            "1",
            "007",
            "1.50",
            "-3",
            "true",
            "No",
            "2026-01-31",
            "2026-01-31T23:30:00-05:00",
            "ß",
            "ŉ İ ǅ",
            "日本語テキスト",
            "9223372036854775808",
            "e\u{301}",
            "👩‍👧",
            "a  b c d e f g h i j k",
            "+",
            "٠١٢",
        ];
        match self.next() % 12 {
            0 => Value::Null,
            1 => Value::Bool(self.chance(50)),
            2 => Value::Int(self.pick(&[0, 1, -1, 42, i64::MAX, i64::MIN])),
            3 => Value::Decimal(
                self.pick(&["0", "1.50", "-0.001", "3.0", "79228162514264337593543950335"])
                    .parse()
                    .unwrap(),
            ),
            4 => Value::Date(
                crate::value::Date::parse(self.pick(&["2026-01-31", "0001-01-01", "9999-12-31"])).unwrap(),
            ),
            5 => Value::Time(Timestamp(self.pick(&[
                0,
                1,
                999,
                -1,
                1_454_284_800_123_456,
                253_402_300_799_000_000,
            ]))),
            6 => Value::List(vec![]),
            7 => Value::List(vec![1.into()]),
            _ => Value::from(self.pick(&texts)),
        }
    }

    /// As a system may hand it out: as it was written, through JSON, or blank in another form.
    fn as_handed_out(&mut self, native: Value) -> Option<Value> {
        match native {
            Value::Null => self.pick(&[None, Some(Value::Null), Some("".into()), Some("  ".into())]),
            value if self.chance(50) => {
                let wire = value.to_json().to_string();
                Some(Value::from_json(&serde_json::from_str(&wire).unwrap()))
            }
            value => Some(value),
        }
    }

    /// The value under its path, nested or with the path as key.
    fn record(&mut self, path: &str, native: Option<Value>) -> NativeRecord {
        let mut record = record("{}");
        let Some(native) = native else { return record };
        match path.split_once('.') {
            Some((object, rest)) if self.chance(50) => {
                record
                    .fields
                    .insert(object.into(), Value::Map(BTreeMap::from([(rest.into(), native)])));
            }
            _ => {
                record.fields.insert(path.into(), native);
            }
        }
        record
    }
}
