import pytest

from graphcnn.common.progress import format_duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (100 * 3600, "100:00:00")]
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text
