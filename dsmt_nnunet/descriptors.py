"""Names of the descriptors that the wide part of the heads rests on: what each measures, and in which unit."""

from __future__ import annotations

from types import MappingProxyType

_PERCENTILES = (5, 10, 25, 50, 75, 90, 95)

MEANINGS = MappingProxyType(
    {
        "diameter_mm": "equivalent diameter of the mask, mm",
        "feret_mm": "longest distance between opposite points of the border, mm",
        "axis_long_mm": "longest axis of the ellipsoid of the same second moments, mm",
        "axis_middle_mm": "middle axis of the ellipsoid of the same second moments, mm",
        "axis_short_mm": "shortest axis of the ellipsoid of the same second moments, mm",
        "log_volume": "logarithm of the volume in mm3",
        "sphericity": "surface of the sphere of equal volume over the surface of the mask",
        "surface_to_volume": "surface over volume, 1/mm",
        "elongation": "middle over longest axis",
        "flatness": "shortest over longest axis",
        "solidity": "mean radius over mean radius of the convex hull",
        "radius_variation": "standard deviation of the radius over its mean",
        "roughness": "surface over surface of the mask smoothed by 2 mm",
        "off_centre": "distance of the centroid from the middle between opposite points, over the radius",
        "hu_mean": "mean density, HU",
        "hu_sd": "standard deviation of the density, HU",
        **{f"hu_p{share:02d}": f"percentile {share} of the density, HU" for share in _PERCENTILES},
        "hu_skewness": "skewness of the density",
        "hu_kurtosis": "excess kurtosis of the density",
        "share_solid": "share above -160 HU",
        "share_part_solid": "share between -600 and -160 HU",
        "share_ground_glass": "share below -600 HU",
        "share_calcium": "share above 200 HU",
        "log_mass": "logarithm of the mass in mg, water being 0 HU",
        "log_solid_volume": "logarithm of 1 + the volume above -160 HU in mm3",
        "hu_core": "density within half the radius, HU",
        "hu_rim": "density of the outermost 1.5 mm, HU",
        "rim_minus_core": "density of the rim minus that of the core, HU",
        "edge_drop": "density 1 to 2 mm inside minus 1 to 2 mm outside the border, HU",
        "edge_drop_sd": "standard deviation over directions of the drop across the border, HU",
        "edge_slope": "steepest fall of the density along the radius near the border, HU/mm",
        "edge_slope_sd": "standard deviation over directions of the steepest fall near the border, HU/mm",
        "around_0_3_hu": "mean density within 3 mm outside, HU",
        "around_3_6_hu": "mean density 3 to 6 mm outside, HU",
        "around_6_9_hu": "mean density 6 to 9 mm outside, HU",
        "around_0_3_sd": "standard deviation over directions of the density within 3 mm outside, HU",
        "around_3_6_sd": "standard deviation over directions of the density 3 to 6 mm outside, HU",
        "around_0_3_tissue": "share of directions with soft tissue (above -500 HU) within 3 mm outside",
        "around_3_6_tissue": "share of directions with soft tissue (above -500 HU) 3 to 6 mm outside",
        "around_6_9_tissue": "share of directions with soft tissue (above -500 HU) 6 to 9 mm outside",
        "spicule_sd": "standard deviation over directions of the density 1.5 to 3 mm outside, HU",
        "spicule_peaks": "share of directions whose density 1.5 to 3 mm outside stands out by 150 HU from those nearby",
        "spicule_skewness": "skewness over directions of the density 1.5 to 3 mm outside",
        "lobulation": "standard deviation of the radius, smoothed over 30 degrees, over its mean",
        "log_1mm_mean": "mean Laplacian of Gaussian of 1 mm, HU",
        "log_1mm_sd": "standard deviation of the Laplacian of Gaussian of 1 mm, HU",
        "log_2mm_mean": "mean Laplacian of Gaussian of 2 mm, HU",
        "log_2mm_sd": "standard deviation of the Laplacian of Gaussian of 2 mm, HU",
        "log_3mm_mean": "mean Laplacian of Gaussian of 3 mm, HU",
        "local_sd": "mean standard deviation of the density within 1.5 mm, HU",
        "empty": "1 where nothing was segmented, and all else is of a sphere of 4 mm in the middle",
    }
)
"""Name -> meaning and unit, in the order in which they are measured."""

DESCRIPTORS = tuple(MEANINGS)
PERCENTILES = _PERCENTILES
