// Package s3fake is an Amazon S3 for tests: an http.Handler that speaks the REST API and follows what AWS documents, also where the
// servers that imitate S3 differ from it: conditional writes and what a lost answer does to them, errors inside a 200, version ids and
// delete markers, Object Lock that is silent without permission, encryption headers and ETags, multipart limits, archive classes,
// annotations. It knows nothing of Coffer's adapter, so that it can be the judge of it.
//
// Sources are the Amazon S3 API Reference (requests, headers, error codes), the User Guide (versioning, Object Lock, conditional
// requests, checksums, tagging) and the shapes of the AWS SDK. Where those leave a question open the stricter answer was chosen, and
// a comment says so: a program that is right here is right there.
//
// What it does not have: presigned requests, POST forms, access points, directory buckets, XXHASH checksums, bucket policies (a set of
// denied actions stands in for them, see [Server.Deny]), and everything that happens by itself in time: a replica, a finished restore
// and an expired lock come when the test says so. The time a request was signed is not compared with the clock, because tests have
// their own. An operation it does not know is answered by 501 and counted as "Unknown", so that a test sees it.
package s3fake
