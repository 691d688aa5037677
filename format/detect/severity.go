package detect

import (
	"strings"

	"coffer"
)

// Severity returns Macie's severity of count occurrences of a type (user guide, "Severity scoring for Macie findings"). Custom
// identifiers and types that are not known are medium, as custom identifiers without thresholds of their own are. The severity
// of a finding is the highest over its types.
func Severity(t coffer.DataType, count int64) coffer.Severity {
	const low, medium, high = coffer.SeverityLow, coffer.SeverityMedium, coffer.SeverityHigh
	by := func(one, few, many coffer.Severity) coffer.Severity {
		switch {
		case count <= 1:
			return one
		case count < 100:
			return few
		}
		return many
	}
	if _, ok := managed().byID[t]; !ok {
		return medium
	}
	switch s := string(t); {
	case t == coffer.CardSecurityCode, strings.HasSuffix(s, "_PASSPORT_NUMBER"):
		return by(medium, high, high)
	case t == "LATITUDE_LONGITUDE":
		return by(low, medium, medium)
	case t == "VEHICLE_IDENTIFICATION_NUMBER":
		return by(low, low, medium)
	case t == "ARGENTINA_TARJETA_SUBE", t == "ARGENTINA_ORGANIZATION_TAX_IDENTIFICATION_NUMBER",
		t == "COLOMBIA_ORGANIZATION_NIT_NUMBER", t == "MEXICO_ORGANIZATION_RFC_NUMBER":
		return by(medium, medium, high)
	case t == coffer.CardExpiration, t == "MEDICAL_DEVICE_UDI", t == coffer.BirthDate, t == coffer.PersonName,
		t == coffer.Address, t == "HTTP_COOKIE", t == "BRAZIL_CEP_CODE",
		strings.HasSuffix(s, "DRIVERS_LICENSE"), strings.HasSuffix(s, "PHONE_NUMBER"):
		return by(low, medium, high)
	}
	return high
}
