"""Tests that authors of plugins run against their own code. They need the extra `testing`."""

import pytest

pytest.register_assert_rewrite("comfyledger.testing.media_contract", "comfyledger.testing.store_contract")
