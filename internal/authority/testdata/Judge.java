import java.io.FileInputStream;
import java.io.InputStream;
import java.security.KeyStore;
import java.security.cert.*;
import java.util.*;
import javax.net.ssl.*;

/**
 * Says for each case what a TLS peer in Java makes of a chain. The arguments
 * are the root, the lists, and cases: NAME=client|server=CHAIN.
 */
class Judge {
  public static void main(String[] args) throws Exception {
    CertificateFactory read = CertificateFactory.getInstance("X.509");
    KeyStore anchors = KeyStore.getInstance("PKCS12");
    anchors.load(null, null);
    anchors.setCertificateEntry("root", one(read, args[0]));
    Collection<? extends CRL> lists;
    try (InputStream in = new FileInputStream(args[1])) {
      lists = read.generateCRLs(in);
    }
    PKIXBuilderParameters how = new PKIXBuilderParameters(anchors, new X509CertSelector());
    how.setRevocationEnabled(true);
    how.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(lists)));
    TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
    factory.init(new CertPathTrustManagerParameters(how));
    X509TrustManager judge = (X509TrustManager) factory.getTrustManagers()[0];
    for (String arg : Arrays.asList(args).subList(2, args.length)) {
      String[] part = arg.split("=", 3);
      X509Certificate[] chain;
      try (InputStream in = new FileInputStream(part[2])) {
        chain = read.generateCertificates(in).toArray(new X509Certificate[0]);
      }
      try {
        if (part[1].equals("client")) judge.checkClientTrusted(chain, "EC");
        else judge.checkServerTrusted(chain, "ECDHE_ECDSA");
        System.out.println(part[0] + ": accepted");
      } catch (CertificateException e) {
        Throwable why = e;
        while (why.getCause() != null) why = why.getCause();
        System.out.println(part[0] + ": refused, " + why.getMessage());
      }
    }
  }

  static Certificate one(CertificateFactory read, String path) throws Exception {
    try (InputStream in = new FileInputStream(path)) {
      return read.generateCertificate(in);
    }
  }
}
