#!/usr/bin/env python3
"""Tests of the arithmetic of scaling.py, against numbers worked out by hand."""
import unittest

import scaling


class Scaling(unittest.TestCase):
    def test_memory_counts_seven_numbers_per_prunable_parameter(self):
        # 10 parameters, 6 of them prunable: 40 numbers and 18 more.
        self.assertEqual(scaling.resident_bytes(10, 6), 4 * 58)
        self.assertEqual(scaling.resident_bytes(10, 6, ranks=4), 4 * 78)

    def test_a_ring_of_two_sends_all_once_and_large_rings_twice(self):
        self.assertEqual(scaling.ring_bytes(100, 2), 400)
        self.assertEqual(scaling.ring_bytes(100, 4), 600)
        self.assertAlmostEqual(scaling.ring_bytes(100, 1000), 799.2)

    def test_an_update_is_computing_network_and_copies(self):
        o = scaling.options(["--compute", "1", "--serial", "0.1", "--parameters", "1000000", "--latency", "0.001",
                             "--copy", "8e6"])
        self.assertAlmostEqual(scaling.update_seconds(o, 1, 1), 1.1)
        # 4 MB at 8 Mb/s are 4 s, two messages 2 ms, 8 MB of copies 1 s.
        self.assertAlmostEqual(scaling.update_seconds(o, 2, 0.008), 0.5 + 0.1 + 4.0 + 0.002 + 1.0)
        o.accumulation = 4
        self.assertAlmostEqual(scaling.update_seconds(o, 2, 0.008), 2.0 + 0.1 + 4.0 + 0.002 + 1.0)


if __name__ == "__main__":
    unittest.main()
