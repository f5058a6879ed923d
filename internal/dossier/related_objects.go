package dossier

import (
	"spoor/internal/intel"
	"spoor/internal/verdict"
)

// neededByRelatedObjects are the relations whose other end has a zone. Similar files are no relation: they only look alike.
const neededByRelatedObjects = intel.SectionStarted | intel.SectionStartedBy | intel.SectionDownloaded | intel.SectionDownloadedBy |
	intel.SectionContains | intel.SectionContainedIn | intel.SectionDownloadedFrom | intel.SectionAccessed | intel.SectionCertificates

// relatedObjects finds out whether any related file, web address or certificate is red, whatever count and the other sections cut.
func (b *builder) relatedObjects() error {
	f := b.facts
	for _, rows := range [][]intel.Row[intel.Related]{f.Started, f.StartedBy, f.Downloaded, f.DownloadedBy, f.Contains, f.ContainedIn} {
		for i := range rows {
			if verdict.Zone(rows[i].Value.Head) == intel.Red {
				b.d.HasRedZone = true
				return nil
			}
		}
	}
	for _, rows := range [][]intel.Row[intel.WebAddress]{f.DownloadedFrom, f.Accessed} {
		for i := range rows {
			if verdict.Address(rows[i].Value.Listings) == intel.Red {
				b.d.HasRedZone = true
				return nil
			}
		}
	}
	for i := range f.Certificates {
		if verdict.Certificate(&f.Certificates[i].Value) == intel.Red {
			b.d.HasRedZone = true
			return nil
		}
	}
	up, err := b.containers()
	if err != nil {
		return err
	}
	down, err := b.members()
	if err != nil {
		return err
	}
	if up.red || down.red {
		b.d.HasRedZone = true
		return nil
	}
	certificates, err := b.containerCertificates()
	if err != nil {
		return err
	}
	for i := range certificates {
		if certificates[i].Zone == intel.Red {
			b.d.HasRedZone = true
		}
	}
	return nil
}
